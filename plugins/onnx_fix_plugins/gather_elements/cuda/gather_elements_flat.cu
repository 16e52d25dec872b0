// Data is read where it lies.
#include "gather_elements_device.cuh"
#include "gather_elements_launch.cuh"

namespace onnx_fix
{
namespace detail
{
namespace
{

constexpr int kFlatThreads = 128;
constexpr int kNearThreads = 512;

// Every thread computes `unroll` vectors of outputs: first all indices, then all data, then all
// stores, so that the loads of one kind are in flight together.
template <typename Elem, typename Index, typename Offset, int vector, bool middle, int threads, int unroll>
__global__ void __launch_bounds__(threads) gatherFlat(Layout<Offset> const layout, bool const dataVectors,
    Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
    int32_t* __restrict__ outOfRange)
{
    constexpr int kUnroll = unroll;
    constexpr int kBlock = threads * kUnroll * vector;
    Offset const first = static_cast<Offset>(blockIdx.x) * kBlock;
    int32_t bad = 0;
    if (layout.count - first < static_cast<Offset>(kBlock))
    {
        // The last block: one output at a time.
        for (Offset p = first + threadIdx.x; p < layout.count; p += threads)
        {
            Offset const at = wrapIndex<Offset>(loadIndex(indices + p), layout.axisSize, bad);
            Offset const base = middle ? middleBase(layout, p) : LastWalk<Offset>(layout, p).base;
            output[p] = loadData(data + (base + at * layout.axisStride));
        }
        report(outOfRange, bad);
        return;
    }
    Pack<Index, vector> index[kUnroll];
    Pack<Elem, vector> value[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
    {
        Offset const p = first + (u * threads + threadIdx.x) * vector;
        if (vector == 1)
        {
            index[u].at[0] = loadIndex(indices + p);
        }
        else
        {
            index[u] = loadPack<true, Index, vector>(indices + p);
        }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
    {
        Offset const p = first + (u * threads + threadIdx.x) * vector;
        if (middle)
        {
            Offset const base = middleBase(layout, p);
            bool same = vector > 1 && dataVectors;
#pragma unroll
            for (int k = 1; k < vector; ++k)
            {
                same = same && index[u].at[k] == index[u].at[0];
            }
            if (same)
            {
                // As where the index is expanded along the inner dims: neighbours lie together.
                int32_t found = 0;
                Offset const at = wrapIndex<Offset>(index[u].at[0], layout.axisSize, found);
                bad += found * vector;
                value[u] = loadPack<false, Elem, vector>(data + (base + at * layout.axisStride));
            }
            else
            {
#pragma unroll
                for (int k = 0; k < vector; ++k)
                {
                    Offset const at = wrapIndex<Offset>(index[u].at[k], layout.axisSize, bad);
                    value[u].at[k] = loadData(data + (base + k + at * layout.axisStride));
                }
            }
        }
        else
        {
            LastWalk<Offset> walk(layout, p);
#pragma unroll
            for (int k = 0; k < vector; ++k)
            {
                Offset const at = wrapIndex<Offset>(index[u].at[k], layout.axisSize, bad);
                value[u].at[k] = loadData(data + (walk.base + at * layout.axisStride));
                walk.next(layout);
            }
        }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
    {
        Offset const p = first + (u * threads + threadIdx.x) * vector;
        storePack<Elem, vector>(output + p, value[u]);
    }
    report(outOfRange, bad);
}

// Any shape, one output at a time.
template <typename Elem, typename Index, typename Offset>
__global__ void __launch_bounds__(kFlatThreads) gatherGeneral(GeneralLayout<Offset> const layout,
    Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
    int32_t* __restrict__ outOfRange)
{
    constexpr int kUnroll = 4;
    Offset const first = static_cast<Offset>(blockIdx.x) * (kFlatThreads * kUnroll) + threadIdx.x;
    int32_t bad = 0;
    Index index[kUnroll];
    Elem value[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
    {
        Offset const p = first + u * kFlatThreads;
        index[u] = p < layout.count ? loadIndex(indices + p) : Index{0};
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
    {
        Offset const p = first + u * kFlatThreads;
        if (p < layout.count)
        {
            Offset const at = wrapIndex<Offset>(index[u], layout.axisSize, bad);
            value[u] = loadData(data + (generalBase(layout, p) + at * layout.axisStride));
        }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
    {
        Offset const p = first + u * kFlatThreads;
        if (p < layout.count)
        {
            output[p] = value[u];
        }
    }
    report(outOfRange, bad);
}

// Where few places of many are read, more threads with less each do better: 16 bytes of indices.
template <typename Elem, typename Index>
struct NarrowVectorOf
{
    static constexpr int kCount = 16 / (sizeof(Elem) > sizeof(Index) ? sizeof(Elem) : sizeof(Index));
};

template <typename Elem, typename Index, typename Offset, int vector, bool middle, int threads = kFlatThreads,
    int unroll = vector == 1 ? 4 : (vector < 8 ? 8 / vector : 1)>
cudaError_t startFlatOf(Call const& call)
{
    constexpr int64_t kBlock = int64_t{threads} * unroll * vector;
    bool const dataVectors = call.plan.rowStride % vector == 0 && call.plan.axisStride % vector == 0
        && aligned(call.args.data, sizeof(Pack<Elem, vector>) < 16 ? sizeof(Pack<Elem, vector>) : 16);
    return start(gatherFlat<Elem, Index, Offset, vector, middle, threads, unroll>,
        divideUp(call.plan.count, kBlock), threads, 0,
        call.stream, makeLayout<Offset>(call.plan), dataVectors, static_cast<Elem const*>(call.args.data),
        static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

template <typename Elem, typename Index, typename Offset>
cudaError_t startFlatAs(Call const& call, bool vectors)
{
    constexpr int kVector = vectorOf(sizeof(Elem));
    constexpr int kNarrow = NarrowVectorOf<Elem, Index>::kCount;
    switch (call.plan.form)
    {
    case Form::kLast:
        if (vectors && kNarrow != kVector && scattered(call.plan, sizeof(Elem)))
        {
            return startFlatOf<Elem, Index, Offset, kNarrow, false>(call);
        }
        return vectors ? startFlatOf<Elem, Index, Offset, kVector, false>(call)
                       : startFlatOf<Elem, Index, Offset, 1, false>(call);
    case Form::kMiddle:
        if (nearby(call.plan, sizeof(Elem), vectors))
        {
            return vectors ? startFlatOf<Elem, Index, Offset, kVector, true, kNearThreads>(call)
                           : startFlatOf<Elem, Index, Offset, 1, true, kNearThreads>(call);
        }
        if (!vectors && sizeof(Index) == 8 && call.plan.count < kGuarded)
        {
            return startFlatOf<Elem, Index, Offset, 1, true, kFlatThreads, 2>(call);
        }
        // Many blocks with few loads each: indices that differ wait for memory.
        return vectors ? startFlatOf<Elem, Index, Offset, kVector < 4 ? kVector : 4, true, kFlatThreads, 1>(call)
                       : startFlatOf<Elem, Index, Offset, 1, true>(call);
    default:
        return start(gatherGeneral<Elem, Index, Offset>, divideUp(call.plan.count, kFlatThreads * 4), kFlatThreads, 0,
            call.stream, makeGeneralLayout<Offset>(call.plan), static_cast<Elem const*>(call.args.data),
            static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output),
            call.args.outOfRange);
    }
}

} // namespace

cudaError_t startFlat(Call const& call, bool wide, bool vectors)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        return wide ? startFlatAs<Elem, Index, uint64_t>(call, vectors)
                    : startFlatAs<Elem, Index, uint32_t>(call, vectors);
    });
}

} // namespace detail
} // namespace onnx_fix
