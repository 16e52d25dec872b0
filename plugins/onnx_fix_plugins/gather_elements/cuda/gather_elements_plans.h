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

// Whether a row of data is so small, and outputs are so many, that single reads by large blocks find
// much of it in the first-level cache. Measured.
inline bool nearby(Plan const& plan, int64_t elementBytes, bool vectors)
{
    int64_t const row = plan.axisSize * plan.axisStride * elementBytes;
    return plan.count >= (3 << 17) && (vectors ? row >= 16 * 1024 && row <= 128 * 1024 : row <= 320 * 1024);
}

constexpr int64_t kGuarded = 1 << 24; // outputs from which a second kernel costs little

// ---------------------------------------------------------------------------- staged

constexpr int kStagedThreads = 512;

struct StagedLayout
{
    int64_t rows;
    int64_t rowStride;     // elements of data between two rows
    int32_t rowSize;       // elements of data in a row: D x inner
    int32_t axisSize;      // D
    int32_t rowsPerBlock;  // more than one only where rows of data follow one another
    int32_t segments;      // blocks per row; more than one only where rowsPerBlock is one
    int32_t segment;       // outputs of such a block, a multiple of the vector
    Divisor<uint32_t> perRow; // K x inner
    Divisor<uint32_t> inner;
};

constexpr int64_t kStagedOutputs = 8192;    // that a block of several rows computes
constexpr int64_t kStagedBytes = 32 * 1024; // of data for such a block

// How rows are shared out among blocks; false where they do not fit.
inline bool planStaged(Plan const& plan, int64_t elementBytes, int64_t vector, Device const& device,
    StagedLayout& layout, int64_t& blocks, size_t& shared)
{
    // With inner dims a row is one piece of memory where data has no more columns than are read.
    int64_t const rowSize = plan.axisSize * plan.inner;
    int64_t const perRow = plan.axisCount * plan.inner;
    if (plan.form == Form::kGeneral || plan.axisStride != plan.inner || perRow >= (1 << 28)
        || rowSize * elementBytes + 16 > device.sharedBytes)
    {
        return false;
    }
    int64_t const wanted = 2 * static_cast<int64_t>(device.processors); // blocks, to have them all at work
    int64_t rows = 1, segments = 1, segment = perRow;
    if (plan.rows >= 2 * wanted && plan.rowStride == rowSize)
    {
        rows = kStagedOutputs / perRow;
        rows = rows < kStagedBytes / (rowSize * elementBytes) ? rows : kStagedBytes / (rowSize * elementBytes);
        rows = rows < plan.rows / wanted ? rows : plan.rows / wanted;
        rows = rows > 1 ? rows : 1;
        segment = rows * perRow;
    }
    else if (plan.rows < wanted)
    {
        // A segment is worth reading the row again when its indices and outputs are more than that.
        int64_t const least = rowSize > kStagedThreads * vector ? rowSize : kStagedThreads * vector;
        segments = divideUp(wanted, plan.rows);
        segments = segments < perRow / least ? segments : perRow / least;
        segments = segments > 1 ? segments : 1;
        segment = divideUp(divideUp(perRow, segments), vector) * vector;
        segments = divideUp(perRow, segment);
    }
    layout.rows = plan.rows;
    layout.rowStride = plan.rowStride;
    layout.rowSize = static_cast<int32_t>(rowSize);
    layout.axisSize = static_cast<int32_t>(plan.axisSize);
    layout.rowsPerBlock = static_cast<int32_t>(rows);
    layout.segments = static_cast<int32_t>(segments);
    layout.segment = static_cast<int32_t>(segment);
    layout.perRow = makeDivisor<uint32_t>(perRow);
    layout.inner = makeDivisor<uint32_t>(plan.inner);
    blocks = divideUp(plan.rows, rows) * segments;
    shared = static_cast<size_t>(rows * rowSize * elementBytes + 16);
    return true;
}

// Whether the order of the indices costs more than bringing whole rows. The bounds were measured.
// With inner dims: where vectors of outputs straddle them (not `whole`) or lines are short, and there
// are many rows of a size at which staging is not slower for indices that are alike along them either.
inline bool worthStaging(Plan const& plan, int64_t elementBytes, bool whole, StagedLayout const& layout,
    int64_t blocks, Device const& device)
{
    if (sparse(plan, elementBytes) || layout.segment < 1024)
    {
        return false;
    }
    int64_t const rowBytes = layout.rowSize * elementBytes;
    if (plan.form == Form::kMiddle)
    {
        return plan.count >= (1 << 22) && rowBytes >= kStagedBytes / 2 && rowBytes <= kStagedBytes
            && blocks >= 2 * device.processors && (!whole || plan.inner * elementBytes <= 64);
    }
    return rowBytes >= (plan.count >= (1 << 22) ? 1024 : 8192) && blocks * 2 >= device.processors;
}

// ---------------------------------------------------------------------------- pieces

struct PieceLayout
{
    int64_t rowStride; // elements of data between two rows
    int64_t axisSize;  // D
    int64_t axisCount; // K
    int32_t piece;     // elements of data in a piece of a row, but for the last
    int32_t pieces;    // of a row
    int32_t segments;  // blocks per piece, each for ..
    int64_t segment;   // .. so many outputs of the row
};

// What one block of gatherPieces does.
struct PieceShare
{
    int64_t row;
    int64_t offset; // of the first output in the row, ..
    int32_t count;  // .. and how many it looks at
    uint32_t first; // place on the axis that the piece begins at, ..
    uint32_t held;  // .. and how many it holds
};

ONNX_FIX_BOTH PieceShare shareOf(PieceLayout const& layout, uint32_t block)
{
    PieceShare share{};
    uint32_t const group = block / static_cast<uint32_t>(layout.pieces);
    share.first = (block - group * static_cast<uint32_t>(layout.pieces)) * static_cast<uint32_t>(layout.piece);
    uint32_t const row = group / static_cast<uint32_t>(layout.segments);
    share.row = row;
    share.offset = (group - row * static_cast<uint32_t>(layout.segments)) * layout.segment;
    uint32_t const rest = static_cast<uint32_t>(layout.axisSize) - share.first;
    share.held = rest < static_cast<uint32_t>(layout.piece) ? rest : static_cast<uint32_t>(layout.piece);
    int64_t const left = layout.axisCount - share.offset;
    share.count = static_cast<int32_t>(left < layout.segment ? left : layout.segment);
    return share;
}

constexpr int64_t kMostPieces = 8;  // that are possible, ..
constexpr int64_t kWorthPieces = 4; // .. and that were measured to be worth it

// How long rows are cut; false where they fit into shared memory as a whole, or take many pieces.
inline bool planPieces(Plan const& plan, int64_t elementBytes, Device const& device, PieceLayout& layout,
    int64_t& blocks, size_t& shared)
{
    int64_t const room = (device.sharedBytes - 16) / 16 * 16 / elementBytes;
    int64_t const pieces = divideUp(plan.axisSize, room > 0 ? room : 1);
    if (plan.form != Form::kLast || plan.axisStride != 1 || pieces < 2 || pieces > kMostPieces
        || plan.axisCount >= (1 << 30))
    {
        return false;
    }
    int64_t const per16 = 16 / elementBytes;
    int64_t const piece = divideUp(divideUp(plan.axisSize, pieces), per16) * per16;
    // Reading a piece again is worth it when the indices and outputs of a segment are more than that.
    int64_t const most = plan.axisCount / (2 * piece) > 1 ? plan.axisCount / (2 * piece) : 1;
    int64_t segments = divideUp(device.processors, plan.rows * pieces);
    segments = segments < most ? segments : most;
    layout.segment = divideUp(divideUp(plan.axisCount, segments), 16) * 16;
    layout.segments = static_cast<int32_t>(divideUp(plan.axisCount, layout.segment));
    layout.rowStride = plan.rowStride;
    layout.axisSize = plan.axisSize;
    layout.axisCount = plan.axisCount;
    layout.piece = static_cast<int32_t>(piece);
    layout.pieces = static_cast<int32_t>(divideUp(plan.axisSize, piece));
    blocks = plan.rows * layout.pieces * layout.segments;
    shared = static_cast<size_t>(piece * elementBytes + 16);
    return blocks <= 0x7fffffff;
}

// Every piece reads all indices of the row, from the second-level cache but for the first.
inline bool worthPieces(Plan const& plan, int64_t elementBytes, PieceLayout const& layout, int64_t blocks,
    Device const& device)
{
    return !sparse(plan, elementBytes) && layout.pieces <= kWorthPieces && blocks * 4 >= device.processors * 3
        && plan.count >= (1 << 20);
}

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_PLANS_H
