// How the paths share out the work, on the host: a C++ compiler and no GPU is all it needs.
//
// Reads cases from standard input, one a line: processors sharedBytes elementBytes shiftBytes axis rank
// dataDims.. indexDims.., where shiftBytes is how far data lies behind a multiple of 16. Writes one
// line per case, a word for each path that can serve it: `staged:ROWS`, `pieces:PIECES`, `tiled:COLUMNS`,
// `columns:COLUMNS` with `~` behind it where places lie askew, and `!` where the path is worth it; then
// `ok`, or what is wrong with the shares of the blocks.
#include "../gather_elements_plans.h"
#include "../gather_elements_tiles.h"

#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

using namespace onnx_fix::detail;

namespace
{

// Every output is looked at once for every piece, and the pieces of a row hold every place once.
std::string wrongPieces(PieceLayout const& layout, int64_t rows, int64_t blocks)
{
    std::vector<int32_t> seen(static_cast<size_t>(rows * layout.axisCount));
    std::vector<int64_t> held(static_cast<size_t>(rows * layout.segments));
    for (int64_t block = 0; block < blocks; ++block)
    {
        PieceShare const share = shareOf(layout, static_cast<uint32_t>(block));
        int64_t const segment = share.offset / layout.segment;
        int64_t& next = held[static_cast<size_t>(share.row * layout.segments + segment)];
        if (share.row >= rows || share.first != next || share.count < 1
            || share.offset + share.count > layout.axisCount)
        {
            return "a piece does not follow the one before it";
        }
        next += share.held;
        for (int32_t k = 0; k < share.count; ++k)
        {
            ++seen[static_cast<size_t>(share.row * layout.axisCount + share.offset + k)];
        }
    }
    for (int32_t const times : seen)
    {
        if (times != layout.pieces)
        {
            return "an output is not seen by every piece";
        }
    }
    for (int64_t const end : held)
    {
        if (end != layout.axisSize)
        {
            return "the pieces do not hold the row";
        }
    }
    return "";
}

// Every tile fits where it is put, wherever its places begin, and the tiles of a row are its columns.
std::string wrongColumns(
    ColumnLayout const& layout, int64_t elementBytes, int64_t shift, Device const& device, size_t shared)
{
    if (layout.tiles * layout.columns < layout.inner || (layout.tiles - 1) * layout.columns >= layout.inner)
    {
        return "the tiles are not the row";
    }
    if (int64_t{layout.segments} * layout.segment < layout.axisCount
        || int64_t{layout.segments - 1} * layout.segment >= layout.axisCount)
    {
        return "the segments are not the axis";
    }
    if (shared > static_cast<size_t>(device.sharedBytes)
        || shared < static_cast<size_t>(layout.axisSize) * static_cast<size_t>(layout.pitch)
        || layout.pitch % layout.copyBytes != 0)
    {
        return "the tile does not fit";
    }
    for (int64_t tile = 0; tile < layout.tiles; ++tile)
    {
        int64_t const begin = shift + tile * layout.columns * elementBytes;
        for (int64_t at = 0; at < layout.axisSize; ++at)
        {
            int64_t const address = begin + at * layout.axisStride * elementBytes;
            int64_t const off = address % layout.copyBytes;
            // As the kernel computes it, in 32 bits.
            uint32_t const skew = static_cast<uint32_t>(layout.axisStride * elementBytes);
            uint32_t const found = (static_cast<uint32_t>(begin) + static_cast<uint32_t>(at) * skew) & 3u;
            if (layout.askew ? found != static_cast<uint32_t>(off) : off != 0)
            {
                return "a place is looked for where it does not lie";
            }
            if (off + layout.columns * elementBytes > layout.pitch)
            {
                return "a place reaches into the next";
            }
        }
    }
    return "";
}

} // namespace

int main()
{
    int64_t elementBytes = 0, shift = 0;
    Device device{};
    device.cacheBytes = 50 << 20;
    device.threads = 2048;
    int axis = 0, rank = 0;
    while (std::cin >> device.processors >> device.sharedBytes >> elementBytes >> shift >> axis >> rank)
    {
        device.sharedInAll = device.sharedBytes + 1024;
        int64_t data[kMaxRank] = {}, index[kMaxRank] = {};
        for (int32_t k = 0; k < rank; ++k)
        {
            std::cin >> data[k];
        }
        for (int32_t k = 0; k < rank; ++k)
        {
            std::cin >> index[k];
        }
        Plan plan;
        if (!makePlan(rank, data, index, axis, plan) || plan.count == 0)
        {
            std::cout << "refused\n";
            continue;
        }
        void const* const pointer = reinterpret_cast<void const*>(static_cast<uintptr_t>(4096 + shift));
        int64_t const vector = vectorOf(elementBytes);
        bool const whole = plan.inner % vector == 0;
        int64_t blocks = 0;
        size_t shared = 0;
        std::string wrong;
        StagedLayout staged{};
        if (planStaged(plan, elementBytes, vector, device, staged, blocks, shared))
        {
            bool const worth = worthStaging(plan, elementBytes, whole, staged, blocks, device);
            std::cout << "staged:" << staged.rowsPerBlock << (worth ? "! " : " ");
            int64_t const perRow = staged.perRow.value;
            bool const all = staged.segments == 1
                ? blocks * staged.rowsPerBlock >= plan.rows && staged.segment >= perRow * staged.rowsPerBlock
                : blocks == plan.rows * staged.segments && int64_t{staged.segments} * staged.segment >= perRow;
            wrong = all && shared <= static_cast<size_t>(device.sharedBytes) ? "" : "staged rows are left out";
        }
        PieceLayout pieces{};
        if (planPieces(plan, elementBytes, device, pieces, blocks, shared))
        {
            bool const worth = worthPieces(plan, elementBytes, pieces, blocks, device);
            std::cout << "pieces:" << pieces.pieces << (worth ? "! " : " ");
            wrong += wrongPieces(pieces, plan.rows, blocks);
        }
        TiledLayout tiled{};
        if (whole && planTiled(plan, pointer, elementBytes, vector, device, tiled, blocks, shared))
        {
            bool const worth = worthTiling(plan, elementBytes, tiled, blocks, device);
            std::cout << "tiled:" << (1 << tiled.columnsShift) << (worth ? "! " : " ");
        }
        ColumnLayout columns{};
        if (planColumns(plan, pointer, elementBytes, whole ? vector : 1, device, columns, blocks, shared))
        {
            bool const worth = worthColumns(plan, elementBytes, whole, columns, blocks, device);
            std::cout << "columns:" << columns.columns << (columns.askew ? "~" : "") << (worth ? "! " : " ");
            wrong += wrongColumns(columns, elementBytes, shift, device, shared);
        }
        std::cout << (wrong.empty() ? "ok" : wrong) << '\n';
    }
    return 0;
}
