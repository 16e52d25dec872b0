// How the tiled path shares a plan out among blocks. Plain C++ like gather_elements_index.h.
#ifndef ONNX_FIX_GATHER_ELEMENTS_TILES_H
#define ONNX_FIX_GATHER_ELEMENTS_TILES_H

#include "gather_elements_plans.h"

namespace onnx_fix
{
namespace detail
{

// ---------------------------------------------------------------------------- lines

// A line is what lies inside the axis for one index of rows and axis, `inner` outputs.
struct LineLayout
{
    int64_t dataCount;
    int64_t rowStride;  // elements of data between two rows
    int64_t axisStride; // elements of data between neighbours on the axis
    int64_t inner;
    int64_t lines;             // rows x K
    Divisor<uint32_t> perLine; // `inner`
    Divisor<uint32_t> places;  // K
    int32_t axisSize;          // D
    int32_t axisCount;         // K
    bool dataVectors;          // vectors of data are aligned wherever those of output begin
};

inline bool planLines(
    Plan const& plan, void const* data, int64_t elementBytes, int64_t vector, LineLayout& layout)
{
    // Offsets in a chunk of lines are 32-bit, counted from the line in which it begins.
    if (plan.inner >= (1 << 30))
    {
        return false;
    }
    layout.dataCount = plan.dataCount;
    layout.rowStride = plan.rowStride;
    layout.axisStride = plan.axisStride;
    layout.inner = plan.inner;
    layout.lines = plan.rows * plan.axisCount;
    layout.perLine = makeDivisor<uint32_t>(plan.inner);
    layout.places = makeDivisor<uint32_t>(plan.axisCount);
    layout.axisSize = static_cast<int32_t>(plan.axisSize);
    layout.axisCount = static_cast<int32_t>(plan.axisCount);
    size_t const packBytes = static_cast<size_t>(elementBytes * vector);
    layout.dataVectors = plan.rowStride % vector == 0 && plan.axisStride % vector == 0
        && aligned(data, packBytes < 16 ? packBytes : 16);
    return true;
}

// ---------------------------------------------------------------------------- tiled

constexpr int kTiledThreads = 512;
constexpr int kTiledBlocks = 2; // on a processor, at most

struct TiledLayout : LineLayout
{
    int64_t tiles;        // column tiles per row
    int32_t columnsShift; // a tile has 2^columnsShift columns
    int32_t segments;     // pieces of a tile's outputs, ..
    int32_t segment;      // .. of so many places on the axis
    uint32_t blocks;      // rows x tiles x segments
    int32_t copyBytes;    // of one asynchronous copy: 16, 8 or 4; 0: element by element
};

constexpr int64_t kSmallTile = 16 * 1024; // bytes; work for a block. Lines of a tile are long where the axis is short
constexpr int64_t kTiledLine = 32;
constexpr int64_t kTiledBytes = 64 * 1024; // of data for a block

// How columns are shared out among blocks; false where no tile fits.
inline bool planTiled(Plan const& plan, void const* data, int64_t elementBytes, int64_t vector,
    Device const& device, TiledLayout& layout, int64_t& blocks, size_t& shared)
{
    int64_t const line = plan.axisSize * elementBytes; // bytes of one column
    if (plan.form != Form::kMiddle || plan.inner < 2 || line * vector > device.sharedBytes
        || plan.axisCount >= (1 << 24))
    {
        return false;
    }
    int32_t shift = 0;
    while ((int64_t{1} << shift) < vector)
    {
        ++shift;
    }
    // Wide tiles, as long as they are small; then at least the 32 bytes that memory moves at once.
    int64_t const wanted = 2 * static_cast<int64_t>(device.processors);
    auto const wider = [&](int64_t limit) {
        int64_t const columns = int64_t{2} << shift;
        return (int64_t{1} << shift) < plan.inner && line * columns <= limit;
    };
    while (wider(device.sharedBytes) && (elementBytes << shift) < kTiledLine)
    {
        ++shift;
    }
    while (wider(kTiledBytes) && ((elementBytes << shift) < 512 || (line << shift) < kSmallTile)
        && plan.rows * divideUp(plan.inner, int64_t{2} << shift) >= wanted)
    {
        ++shift;
    }
    layout.tiles = divideUp(plan.inner, int64_t{1} << shift);
    if (layout.tiles * plan.rows > 0x3fffffff || (plan.axisCount << shift) >= (1 << 30))
    {
        return false;
    }
    int64_t segments = divideUp(wanted, layout.tiles * plan.rows);
    int64_t const most = plan.axisCount / plan.axisSize; // A tile is read again by every block of it.
    segments = segments < most ? segments : most;
    segments = segments > 1 ? segments : 1;
    int64_t const segment = divideUp(plan.axisCount, segments);
    segments = divideUp(plan.axisCount, segment);
    layout.columnsShift = shift;
    layout.segments = static_cast<int32_t>(segments);
    layout.segment = static_cast<int32_t>(segment);
    layout.copyBytes = 0;
    for (int64_t bytes = 16; bytes >= 4 && bytes >= elementBytes && layout.copyBytes == 0; bytes /= 2)
    {
        bool const fits = (elementBytes << shift) % bytes == 0 && plan.inner * elementBytes % bytes == 0
            && plan.rowStride * elementBytes % bytes == 0 && plan.axisStride * elementBytes % bytes == 0
            && aligned(data, static_cast<size_t>(bytes));
        layout.copyBytes = fits ? static_cast<int32_t>(bytes) : 0;
    }
    blocks = layout.tiles * plan.rows * segments;
    if (blocks > 0x3fffffff || !planLines(plan, data, elementBytes, vector, layout))
    {
        return false;
    }
    layout.blocks = static_cast<uint32_t>(blocks);
    shared = static_cast<size_t>(line << shift);
    return true;
}

// Blocks of gatherTiled that a processor runs at once, as shared memory and registers allow.
inline int64_t tiledPerProcessor(size_t shared, Device const& device)
{
    int64_t const fit = device.sharedInAll / static_cast<int64_t>(shared + 1024);
    return fit < 1 ? 1 : (fit > kTiledBlocks ? kTiledBlocks : fit);
}

// Whether bringing whole tiles costs less than reading single elements, each of which moves 32
// bytes, should the indices differ across columns; and whether there are blocks for all. A narrow
// tile does only where single reads would not find a row of data in the second-level cache.
inline bool worthTiling(Plan const& plan, int64_t elementBytes, TiledLayout const& layout, int64_t blocks,
    Device const& device)
{
    int64_t const width = elementBytes << layout.columnsShift;
    return layout.segment * int64_t{16} >= plan.axisSize * elementBytes
        && blocks >= device.processors && plan.count >= (nearby(plan, elementBytes, true) ? 1 << 22 : 1 << 21)
        && (width >= kTiledLine
            || (width >= 8 && plan.axisSize * plan.axisStride * elementBytes > device.cacheBytes));
}

// ---------------------------------------------------------------------------- columns

constexpr int kColumnThreads = 512;
constexpr int kColumnBlocks = 2;             // on a processor, at least, as far as registers go
constexpr int64_t kColumnBytes = 64 * 1024; // of data for a block
constexpr int64_t kColumnLine = 32;

// Tiles of columns of any number, one output at a time.
struct ColumnLayout : LineLayout
{
    int64_t tiles;               // column tiles per row
    int32_t columns;             // of a tile, but for the last of a row
    Divisor<uint32_t> perColumn; // `columns`
    int32_t pitch;               // bytes of shared memory between two places on the axis
    Divisor<uint32_t> copies;    // asynchronous copies per place
    int32_t copyBytes;           // of each: 16, 8 or 4
    bool askew;                  // places lie at any distance from a multiple of copyBytes, then 4
    int32_t segments;            // pieces of a tile's outputs, ..
    int32_t segment;             // .. of so many places on the axis
    uint32_t blocks;             // rows x tiles x segments
};

// How columns are shared out among blocks; false where no tile fits.
inline bool planColumns(Plan const& plan, void const* data, int64_t elementBytes, int64_t lineVector,
    Device const& device, ColumnLayout& layout, int64_t& blocks, size_t& shared)
{
    if (plan.form != Form::kMiddle || plan.inner < 2 || plan.axisCount >= (1 << 24)
        || !planLines(plan, data, elementBytes, lineVector, layout))
    {
        return false;
    }
    int64_t copyBytes = 16;
    auto const fits = [&](int64_t bytes) {
        return plan.inner * elementBytes % bytes == 0 && plan.rowStride * elementBytes % bytes == 0
            && plan.axisStride * elementBytes % bytes == 0 && aligned(data, static_cast<size_t>(bytes));
    };
    while (copyBytes > 4 && copyBytes > elementBytes
        && (!fits(copyBytes) || plan.axisSize * copyBytes > device.sharedBytes))
    {
        copyBytes /= 2;
    }
    layout.askew = !fits(copyBytes);
    if (layout.askew && elementBytes > 2)
    {
        return false; // Never: elements are aligned to their size.
    }
    int64_t const step = layout.askew || copyBytes < elementBytes ? 1 : copyBytes / elementBytes;
    auto const pitchOf = [&](int64_t columns) {
        int64_t const bytes = columns * elementBytes;
        return layout.askew ? divideUp(bytes + 4 - elementBytes, 4) * 4 : divideUp(bytes, copyBytes) * copyBytes;
    };
    int64_t const wanted = 2 * static_cast<int64_t>(device.processors);
    int64_t columns = step;
    auto const grow = [&](int64_t limit) {
        return columns < plan.inner && plan.axisSize * pitchOf(columns + step) <= limit;
    };
    if (plan.axisSize * pitchOf(columns) > device.sharedBytes)
    {
        return false;
    }
    while (grow(device.sharedBytes) && columns * elementBytes < kColumnLine)
    {
        columns += step;
    }
    while (grow(kColumnBytes) && columns * elementBytes < 512
        && plan.rows * divideUp(plan.inner, columns + step) >= wanted)
    {
        columns += step;
    }
    while (columns * 2 <= plan.inner && plan.axisSize * pitchOf(columns) < kSmallTile
        && columns * elementBytes >= 256 && plan.rows * divideUp(plan.inner, columns * 2) >= wanted)
    {
        columns *= 2;
    }
    // Of equal width, but for what `step` asks.
    layout.tiles = divideUp(plan.inner, columns);
    columns = divideUp(divideUp(plan.inner, layout.tiles), step) * step;
    layout.tiles = divideUp(plan.inner, columns);
    int64_t const pitch = pitchOf(columns);
    if (layout.tiles * plan.rows > 0x3fffffff || plan.axisCount * columns >= (1 << 30))
    {
        return false;
    }
    int64_t segments = divideUp(wanted, layout.tiles * plan.rows);
    int64_t const most = plan.axisCount / plan.axisSize; // A tile is read again by every block of it.
    segments = segments < most ? segments : most;
    segments = segments > 1 ? segments : 1;
    layout.segment = static_cast<int32_t>(divideUp(plan.axisCount, segments));
    layout.segments = static_cast<int32_t>(divideUp(plan.axisCount, layout.segment));
    blocks = layout.tiles * plan.rows * layout.segments;
    if (blocks > 0x3fffffff)
    {
        return false;
    }
    layout.columns = static_cast<int32_t>(columns);
    layout.perColumn = makeDivisor<uint32_t>(columns);
    layout.pitch = static_cast<int32_t>(pitch);
    layout.copyBytes = static_cast<int32_t>(copyBytes);
    layout.copies = makeDivisor<uint32_t>(pitch / copyBytes);
    layout.blocks = static_cast<uint32_t>(blocks);
    shared = static_cast<size_t>(plan.axisSize * pitch);
    return true;
}

// As worthTiling, but not where large blocks of single reads do well; a tile of almost 32 bytes will do,
// since tiles of a row are about equal. Where vectors do not straddle `inner` (`whole`), it is as good from fewer outputs on,
// since the other kernel has vectors then.
inline bool worthColumns(Plan const& plan, int64_t elementBytes, bool whole, ColumnLayout const& layout,
    int64_t blocks, Device const& device)
{
    int64_t const width = elementBytes * layout.columns;
    return !nearby(plan, elementBytes, false) && layout.segment * int64_t{16} >= plan.axisSize * elementBytes
        && blocks >= device.processors
        && plan.count >= (whole ? 1 << 21 : kGuarded)
        && (width >= 28 || (width >= 8 && plan.axisSize * plan.axisStride * elementBytes > device.cacheBytes));
}

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_TILES_H
