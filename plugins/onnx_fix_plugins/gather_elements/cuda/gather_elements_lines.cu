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
    static constexpr int kUnroll = vector == 2 ? 2 : 1;
    static constexpr int kRounds = 4;
    static constexpr int kChunk = kLineThreads * kUnroll * kRounds; // vectors
};

// An axis with contiguous dims inside, in two kernels, one of which finds that the other serves the
// indices and leaves. This one serves those that are alike along the inner dims, as an expanded
// index is: neighbours lie together, so that data is read where it lies, in vectors.
template <typename Elem, typename Index, int vector>
__global__ void __launch_bounds__(kLineThreads, 4) gatherLines(LineLayout const layout, Elem const* __restrict__ data,
    Index const* __restrict__ indices, Elem* __restrict__ output, int32_t* __restrict__ outOfRange)
{
    if (!looksExpanded(layout.lines, layout.inner, indices))
    {
        return;
    }
    constexpr int kUnroll = LineShape<vector>::kUnroll;
    constexpr uint32_t kChunk = LineShape<vector>::kChunk;
    uint32_t const perLine = layout.perLine.value;
    uint32_t const size = static_cast<uint32_t>(layout.axisSize);
    int64_t const total = layout.lines * perLine / vector;
    int32_t bad = 0;
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * kChunk; first < total;
         first += static_cast<int64_t>(gridDim.x) * kChunk)
    {
        // 64-bit divisions once; the rest are offsets from there in 32 bits.
        uint32_t const vectors = static_cast<uint32_t>(min(total - first, static_cast<int64_t>(kChunk)));
        int64_t const line = first * vector / perLine;
        uint32_t const ahead = static_cast<uint32_t>(first * vector - line * perLine);
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
                uint32_t const down = layout.perLine.divide(ahead + n * vector);
                uint32_t const column = ahead + n * vector - down * perLine;
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

constexpr int kSingleThreads = 256;
constexpr int kSingleUnroll = 4;
constexpr int kSingleTurns = 24; // of blocks, about, where there are more outputs

// Blocks that a processor holds at once: registers are limited so that threads are the bound.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ < 750 || __CUDA_ARCH__ == 800 || (__CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1100)
constexpr int kSingleBlocks = 8;
#elif __CUDA_ARCH__ == 750
constexpr int kSingleBlocks = 4;
#else
constexpr int kSingleBlocks = 6;
#endif

// The same one output at a time, where vectors would go from one line to the next.
template <typename Elem, typename Index, typename Offset>
__global__ void __launch_bounds__(kSingleThreads, sizeof(Offset) == 4 ? kSingleBlocks : 1)
    gatherSingles(Layout<Offset> const layout, int64_t const lines, int32_t const rounds,
        Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
        int32_t* __restrict__ outOfRange)
{
    if (!looksExpanded(lines, layout.inner.value, indices))
    {
        return;
    }
    constexpr int kUnroll = kSingleUnroll;
    constexpr int kBlock = kSingleThreads * kUnroll;
    int32_t bad = 0;
    Offset first = static_cast<Offset>(blockIdx.x) * kBlock * rounds;
    for (int32_t round = 0; round < rounds && first < layout.count; ++round, first += kBlock)
    {
        Offset const p = first + threadIdx.x;
        if (layout.count - first < static_cast<Offset>(kBlock))
        {
            for (Offset n = p; n < layout.count; n += kSingleThreads)
            {
                Offset const at = wrapIndex<Offset>(loadIndex(indices + n), layout.axisSize, bad);
                output[n] = loadData(data + (middleBase(layout, n) + at * layout.axisStride));
            }
            continue;
        }
        Index index[kUnroll];
        Elem value[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            index[u] = loadIndex(indices + (p + u * kSingleThreads));
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            Offset const n = p + u * kSingleThreads;
            Offset const at = wrapIndex<Offset>(index[u], layout.axisSize, bad);
            value[u] = loadData(data + (middleBase(layout, n) + at * layout.axisStride));
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            output[p + u * kSingleThreads] = value[u];
        }
    }
    report(outOfRange, bad);
}

template <typename Elem, typename Index, typename Offset>
cudaError_t startSinglesAs(Call const& call, Device const& device)
{
    // Not too many blocks, since all ask whether they are to work; but blocks that come and go were
    // measured to be faster than one turn of blocks that stay.
    int64_t const chunk = kSingleThreads * kSingleUnroll;
    int64_t const resident = int64_t{device.threads} / kSingleThreads * device.processors;
    int64_t const turns = call.plan.count / (chunk * resident * kSingleTurns);
    int64_t const rounds = turns > 1 ? (turns < 64 ? turns : 64) : 1;
    return start(gatherSingles<Elem, Index, Offset>, divideUp(call.plan.count, chunk * rounds), kSingleThreads, 0,
        call.stream, makeLayout<Offset>(call.plan), call.plan.rows * call.plan.axisCount,
        static_cast<int32_t>(rounds), static_cast<Elem const*>(call.args.data),
        static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

template <typename Elem, typename Index, int vector>
cudaError_t startLinesAs(Call const& call, LineLayout const& layout, Device const& device)
{
    int64_t const chunks = divideUp(layout.lines * layout.perLine.value / vector, LineShape<vector>::kChunk);
    int64_t const fit = device.threads / kLineThreads;
    int64_t const resident = (fit < kLineBlocks ? fit : kLineBlocks) * device.processors;
    return start(gatherLines<Elem, Index, vector>, chunks < resident ? chunks : resident, kLineThreads, 0,
        call.stream, layout, static_cast<Elem const*>(call.args.data),
        static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

} // namespace

cudaError_t startLines(Call const& call, LineLayout const& layout, Device const& device)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        return startLinesAs<Elem, Index, vectorOf(sizeof(Elem))>(call, layout, device);
    });
}

cudaError_t startSingles(Call const& call, bool wide, Device const& device)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        return wide ? startSinglesAs<Elem, Index, uint64_t>(call, device)
                    : startSinglesAs<Elem, Index, uint32_t>(call, device);
    });
}

} // namespace detail
} // namespace onnx_fix
