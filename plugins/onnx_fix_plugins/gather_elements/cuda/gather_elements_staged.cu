// Rows of data go through shared memory: the last axis, or one with all its inner dims in the row.
#include "gather_elements_device.cuh"
#include "gather_elements_launch.cuh"

namespace onnx_fix
{
namespace detail
{
namespace
{

// A block brings its rows of data into shared memory, where the order of the indices costs little, and
// meanwhile reads the first indices. `middle`: a row has inner dims.
template <typename Elem, typename Index, int vector, bool middle>
__global__ void __launch_bounds__(kStagedThreads) gatherStaged(StagedLayout const layout,
    Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
    int32_t* __restrict__ outOfRange)
{
    unsigned const group = blockIdx.x / static_cast<unsigned>(layout.segments);
    int32_t const offset = static_cast<int32_t>(blockIdx.x - group * layout.segments) * layout.segment;
    int64_t const row = static_cast<int64_t>(group) * layout.rowsPerBlock;
    int32_t const rows = static_cast<int32_t>(min(static_cast<int64_t>(layout.rowsPerBlock), layout.rows - row));
    int32_t const count = min(rows * static_cast<int32_t>(layout.perRow.value) - offset, layout.segment);

    Elem const* const staged = copyRow<kStagedThreads>(data + row * layout.rowStride, rows * layout.rowSize);

    // Vectors begin at multiples of `vector` in the whole output; what lies before and after them
    // in this block goes one by one.
    int64_t const start = row * layout.perRow.value + offset;
    Index const* const wanted = indices + start;
    Elem* const to = output + start;
    int32_t const before = min(static_cast<int32_t>((vector - start % vector) % vector), count);
    int32_t const vectors = (count - before) / vector;
    int32_t const after = before + vectors * vector;
    uint32_t const size = static_cast<uint32_t>(layout.axisSize);
    int32_t bad = 0;

    Pack<Index, vector> next{};
    int32_t v = threadIdx.x;
    if (vector > 1 && v < vectors)
    {
        next = loadPack<true, Index, vector>(wanted + before + v * vector);
    }
    waitForCopies();
    __syncthreads();

    if (vector > 1)
    {
        while (v < vectors)
        {
            Pack<Index, vector> const index = next;
            int32_t const p = before + v * vector;
            v += kStagedThreads;
            if (v < vectors)
            {
                next = loadPack<true, Index, vector>(wanted + before + v * vector);
            }
            uint32_t const position = static_cast<uint32_t>(offset + p);
            uint32_t const line = layout.perRow.divide(position);
            uint32_t column = position - line * layout.perRow.value;
            uint32_t base = line * layout.rowSize;
            uint32_t inside = middle ? position - layout.inner.divide(position) * layout.inner.value : 0;
            Pack<Elem, vector> value;
#pragma unroll
            for (int k = 0; k < vector; ++k)
            {
                uint32_t const at = wrapIndex<uint32_t>(index.at[k], size, bad);
                value.at[k] = staged[middle ? base + at * layout.inner.value + inside : base + at];
                if (middle && ++inside == layout.inner.value)
                {
                    inside = 0;
                }
                if (++column == layout.perRow.value)
                {
                    column = 0;
                    base += layout.rowSize;
                }
            }
            storePack<Elem, vector>(to + p, value);
        }
    }
    constexpr int kUnroll = 4;
    int32_t const singles = vector > 1 ? before + (count - after) : count;
    for (int32_t s = threadIdx.x; s < singles; s += kStagedThreads * kUnroll)
    {
        Index index[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            int32_t const n = s + u * kStagedThreads;
            int32_t const p = vector > 1 && n >= before ? after + (n - before) : n;
            index[u] = n < singles ? loadIndex(wanted + p) : Index{0};
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            int32_t const n = s + u * kStagedThreads;
            int32_t const p = vector > 1 && n >= before ? after + (n - before) : n;
            if (n < singles)
            {
                uint32_t const position = static_cast<uint32_t>(offset + p);
                uint32_t const base = layout.perRow.divide(position) * layout.rowSize;
                uint32_t const at = wrapIndex<uint32_t>(index[u], size, bad);
                uint32_t const inside = middle ? position - layout.inner.divide(position) * layout.inner.value : 0;
                to[p] = staged[middle ? base + at * layout.inner.value + inside : base + at];
            }
        }
    }
    report(outOfRange, bad);
}

template <typename Elem, typename Index, int vector, bool middle>
cudaError_t startStagedOf(Call const& call, StagedLayout const& layout, int64_t blocks, size_t shared,
    Device const& device)
{
    auto const kernel = gatherStaged<Elem, Index, vector, middle>;
    cudaError_t const status = allowShared(kernel, shared, device);
    if (status != cudaSuccess)
    {
        return status;
    }
    return start(kernel, blocks, kStagedThreads, shared, call.stream, layout,
        static_cast<Elem const*>(call.args.data), static_cast<Index const*>(call.args.indices),
        static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

template <typename Elem, typename Index, int vector>
cudaError_t startStagedAs(
    Call const& call, StagedLayout const& layout, int64_t blocks, size_t shared, Device const& device)
{
    return layout.inner.value > 1 ? startStagedOf<Elem, Index, vector, true>(call, layout, blocks, shared, device)
                                  : startStagedOf<Elem, Index, vector, false>(call, layout, blocks, shared, device);
}

} // namespace

cudaError_t startStaged(
    Call const& call, StagedLayout const& layout, int64_t blocks, size_t shared, bool vectors, Device const& device)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        return vectors ? startStagedAs<Elem, Index, vectorOf(sizeof(Elem))>(call, layout, blocks, shared, device)
                       : startStagedAs<Elem, Index, 1>(call, layout, blocks, shared, device);
    });
}

} // namespace detail
} // namespace onnx_fix
