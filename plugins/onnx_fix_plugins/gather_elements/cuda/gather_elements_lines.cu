// Data is read where it lies, by indices that are alike along the inner dims.
#include "gather_elements_device.cuh"
#include "gather_elements_expanded.cuh"
#include "gather_elements_launch.cuh"

namespace onnx_fix
{
namespace detail
{
namespace
{

constexpr int kLineThreads = 256;
constexpr int kLineBlocks = 5; // on a processor, all at once, so that equal shares take one turn

template <int vector>
struct LineShape
{
    static constexpr int kUnroll = vector == 1 ? 4 : (vector == 2 ? 2 : 1);
    static constexpr int kRounds = 4;
    static constexpr int kChunk = kLineThreads * kUnroll * kRounds; // vectors
};

// An axis with contiguous dims inside, in two kernels, one of which finds that the other serves the
// indices and leaves. This one serves those that are alike along the inner dims, as an expanded
// index is: neighbours lie together, so that data is read where it lies, in vectors.
template <typename Elem, typename Index, int vector>
__global__ void __launch_bounds__(kLineThreads, 4) gatherLines(TiledLayout const layout, Elem const* __restrict__ data,
    Index const* __restrict__ indices, Elem* __restrict__ output, int32_t* __restrict__ outOfRange)
{
    if (!looksExpanded(layout, indices))
    {
        return;
    }
    constexpr int kUnroll = LineShape<vector>::kUnroll;
    constexpr uint32_t kChunk = LineShape<vector>::kChunk;
    uint32_t const perLine = layout.lineVectors.value;
    uint32_t const size = static_cast<uint32_t>(layout.axisSize);
    int64_t const total = layout.lines * perLine;
    int32_t bad = 0;
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * kChunk; first < total;
         first += static_cast<int64_t>(gridDim.x) * kChunk)
    {
        // 64-bit divisions once; the rest are offsets from there in 32 bits.
        uint32_t const vectors = static_cast<uint32_t>(min(total - first, static_cast<int64_t>(kChunk)));
        int64_t const line = first / perLine;
        uint32_t const ahead = static_cast<uint32_t>(first - line * perLine);
        int64_t const row = line / layout.axisCount;
        uint32_t const place = static_cast<uint32_t>(line - row * layout.axisCount);
        Elem const* const rowData = data + row * layout.rowStride;
#pragma unroll 1
        for (uint32_t v = threadIdx.x; v < vectors; v += kLineThreads * kUnroll)
        {
            Pack<Index, vector> index[kUnroll];
            Pack<Elem, vector> value[kUnroll];
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                uint32_t const n = v + u * kLineThreads;
                if (n < vectors)
                {
                    index[u] = loadPack<true, Index, vector>(indices + (first + n) * vector);
                }
            }
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                uint32_t const n = v + u * kLineThreads;
                if (n >= vectors)
                {
                    continue;
                }
                uint32_t const down = layout.lineVectors.divide(ahead + n);
                uint32_t const column = (ahead + n - down * perLine) * vector;
                Elem const* const from
                    = rowData + layout.places.divide(place + down) * layout.rowStride + column;
                bool same = layout.dataVectors;
#pragma unroll
                for (int k = 1; k < vector; ++k)
                {
                    same = same && index[u].at[k] == index[u].at[0];
                }
                if (same)
                {
                    int32_t found = 0;
                    uint32_t const at = wrapIndex<uint32_t>(index[u].at[0], size, found);
                    bad += found * vector;
                    value[u] = loadPack<false, Elem, vector>(from + at * layout.axisStride);
                }
                else
                {
#pragma unroll
                    for (int k = 0; k < vector; ++k)
                    {
                        uint32_t const at = wrapIndex<uint32_t>(index[u].at[k], size, bad);
                        value[u].at[k] = loadData(from + at * layout.axisStride + k);
                    }
                }
            }
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                uint32_t const n = v + u * kLineThreads;
                if (n < vectors)
                {
                    storePack<Elem, vector>(output + (first + n) * vector, value[u]);
                }
            }
        }
    }
    report(outOfRange, bad);
}

template <typename Elem, typename Index, int vector>
cudaError_t startLinesAs(Call const& call, TiledLayout const& layout, Device const& device)
{
    int64_t const chunks = divideUp(layout.lines * layout.lineVectors.value, LineShape<vector>::kChunk);
    int64_t const fit = device.threads / kLineThreads;
    int64_t const resident = (fit < kLineBlocks ? fit : kLineBlocks) * device.processors;
    return start(gatherLines<Elem, Index, vector>, chunks < resident ? chunks : resident, kLineThreads, 0,
        call.stream, layout, static_cast<Elem const*>(call.args.data),
        static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

} // namespace

cudaError_t startLines(Call const& call, TiledLayout const& layout, bool vectors, Device const& device)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        return vectors ? startLinesAs<Elem, Index, vectorOf(sizeof(Elem))>(call, layout, device)
                       : startLinesAs<Elem, Index, 1>(call, layout, device);
    });
}

} // namespace detail
} // namespace onnx_fix
