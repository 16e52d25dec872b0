// How the paths share a plan out among blocks, and which of them is worth it. Plain C++ like
// gather_elements_index.h, so that it is tested without a GPU.
#ifndef ONNX_FIX_GATHER_ELEMENTS_PLANS_H
#define ONNX_FIX_GATHER_ELEMENTS_PLANS_H

#include "gather_elements_index.h"

#include <cstddef>
#include <cstdint>

namespace onnx_fix
{
namespace detail
{

// What the choice needs to know of a GPU.
struct Device
{
    int processors;
    int sharedBytes; // that a block may ask for
    int sharedInAll; // of a processor
    int cacheBytes;  // of the second level
    int threads;     // that a processor holds
};

inline int64_t divideUp(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

inline bool aligned(void const* pointer, size_t bytes)
{
    return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// Outputs per vector: 16 bytes of output, or 8 outputs.
constexpr int32_t vectorOf(int64_t elementBytes)
{
    return elementBytes == 8 ? 2 : (elementBytes == 4 ? 4 : 8);
}

// A read of one element moves 32 bytes. Where that is less than all data, data is not worth reading
// as a whole.
inline bool sparse(Plan const& plan, int64_t elementBytes)
{
    return plan.axisCount * 16 < plan.axisSize * elementBytes;
}

// Reads that the first-level cache does not serve.
inline bool scattered(Plan const& plan, int64_t elementBytes)
{
    return sparse(plan, elementBytes) || plan.axisSize * elementBytes > 128 * 1024;
}

// ---------------------------------------------------------------------------- staged

constexpr int kStagedThreads = 512;

struct StagedLayout
{
    int64_t rows;
    int64_t rowStride;     // elements of data between two rows
    int32_t axisSize;      // D
    int32_t axisCount;     // K
    int32_t rowsPerBlock;  // more than one only where rows of data follow one another
    int32_t segments;      // blocks per row; more than one only where rowsPerBlock is one
    int32_t segment;       // outputs of such a block, a multiple of the vector
    Divisor<uint32_t> perRow; // K
};

constexpr int64_t kStagedOutputs = 8192;    // that a block of several rows computes
constexpr int64_t kStagedBytes = 32 * 1024; // of data for such a block

// How rows are shared out among blocks; false where they do not fit.
inline bool planStaged(Plan const& plan, int64_t elementBytes, int64_t vector, Device const& device, StagedLayout& layout,
    int64_t& blocks, size_t& shared)
{
    if (plan.form != Form::kLast || plan.axisStride != 1 || plan.axisCount >= (1 << 28)
        || plan.axisSize * elementBytes + 16 > device.sharedBytes)
    {
        return false;
    }
    int64_t const wanted = 2 * static_cast<int64_t>(device.processors); // blocks, to have them all at work
    int64_t rows = 1, segments = 1, segment = plan.axisCount;
    if (plan.rows >= 2 * wanted && plan.rowStride == plan.axisSize)
    {
        rows = kStagedOutputs / plan.axisCount;
        rows = rows < kStagedBytes / (plan.axisSize * elementBytes) ? rows
                                                                    : kStagedBytes / (plan.axisSize * elementBytes);
        rows = rows < plan.rows / wanted ? rows : plan.rows / wanted;
        rows = rows > 1 ? rows : 1;
        segment = rows * plan.axisCount;
    }
    else if (plan.rows < wanted)
    {
        // A segment is worth reading the row again when its indices and outputs are more than that.
        int64_t const least = plan.axisSize > kStagedThreads * vector ? plan.axisSize : kStagedThreads * vector;
        segments = divideUp(wanted, plan.rows);
        segments = segments < plan.axisCount / least ? segments : plan.axisCount / least;
        segments = segments > 1 ? segments : 1;
        segment = divideUp(divideUp(plan.axisCount, segments), vector) * vector;
        segments = divideUp(plan.axisCount, segment);
    }
    layout.rows = plan.rows;
    layout.rowStride = plan.rowStride;
    layout.axisSize = static_cast<int32_t>(plan.axisSize);
    layout.axisCount = static_cast<int32_t>(plan.axisCount);
    layout.rowsPerBlock = static_cast<int32_t>(rows);
    layout.segments = static_cast<int32_t>(segments);
    layout.segment = static_cast<int32_t>(segment);
    layout.perRow = makeDivisor<uint32_t>(plan.axisCount);
    blocks = divideUp(plan.rows, rows) * segments;
    shared = static_cast<size_t>(rows * plan.axisSize * elementBytes + 16);
    return true;
}

// Whether the order of the indices costs more than bringing whole rows. The bounds were measured.
inline bool worthStaging(Plan const& plan, int64_t elementBytes, StagedLayout const& layout, int64_t blocks,
    Device const& device)
{
    int64_t const perBlock = layout.rowsPerBlock > 1 ? int64_t{layout.rowsPerBlock} * plan.axisCount : layout.segment;
    int64_t const least = plan.count >= (1 << 22) ? 1024 : 8192;
    return !sparse(plan, elementBytes) && plan.axisSize * elementBytes >= least && perBlock >= 1024
        && blocks * 2 >= device.processors;
}

// ---------------------------------------------------------------------------- tiled

constexpr int kTiledThreads = 512;
constexpr int kTiledBlocks = 2; // on a processor, at most

struct TiledLayout
{
    int64_t rowStride;  // elements of data between two rows
    int64_t axisStride; // elements of data between neighbours on the axis
    int64_t inner;
    int64_t tiles;        // column tiles per row
    int32_t axisSize;     // D
    int32_t axisCount;    // K
    int32_t columnsShift; // a tile has 2^columnsShift columns
    int32_t segments;     // pieces of a tile's outputs, ..
    int32_t segment;      // .. of so many places on the axis
    uint32_t blocks;      // rows x tiles x segments
    int32_t copyBytes;    // of one asynchronous copy: 16, 8 or 4; 0: element by element
    // For indices that are alike along the inner dims:
    int64_t lines;                 // rows x K
    Divisor<uint32_t> lineVectors; // vectors of `inner`
    Divisor<uint32_t> places;      // K
    bool dataVectors;              // vectors of data are aligned
};

constexpr int64_t kTiledLine = 32;
constexpr int64_t kTiledBytes = 64 * 1024; // of data for a block

// How columns are shared out among blocks; false where no tile fits.
inline bool planTiled(Plan const& plan, void const* data, int64_t elementBytes, int64_t vector, int64_t lineVector,
    Device const& device, TiledLayout& layout, int64_t& blocks, size_t& shared)
{
    int64_t const line = plan.axisSize * elementBytes; // bytes of one column
    if (plan.form != Form::kMiddle || plan.inner < 2 || line * vector > device.sharedBytes || plan.axisCount >= (1 << 24))
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
    while (wider(kTiledBytes) && (elementBytes << shift) < 512
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
    layout.rowStride = plan.rowStride;
    layout.axisStride = plan.axisStride;
    layout.inner = plan.inner;
    layout.axisSize = static_cast<int32_t>(plan.axisSize);
    layout.axisCount = static_cast<int32_t>(plan.axisCount);
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
    layout.lines = plan.rows * plan.axisCount;
    // Offsets in a chunk of lines are 32-bit, counted from the line in which it begins.
    if (plan.inner >= (1 << 30) || blocks > 0x3fffffff)
    {
        return false;
    }
    layout.blocks = static_cast<uint32_t>(blocks);
    layout.lineVectors = makeDivisor<uint32_t>(plan.inner / lineVector);
    layout.places = makeDivisor<uint32_t>(plan.axisCount);
    size_t const packBytes = static_cast<size_t>(elementBytes * lineVector);
    layout.dataVectors = plan.rowStride % lineVector == 0 && plan.axisStride % lineVector == 0
        && aligned(data, packBytes < 16 ? packBytes : 16);
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
        && blocks >= device.processors && plan.count >= (1 << 21)
        && (width >= kTiledLine
            || (width >= 8 && plan.axisSize * plan.axisStride * elementBytes > device.cacheBytes));
}

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_PLANS_H
