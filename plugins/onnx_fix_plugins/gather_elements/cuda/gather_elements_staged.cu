// Rows of data go through shared memory; the last axis only.
#include "gather_elements_device.cuh"
#include "gather_elements_launch.cuh"

namespace onnx_fix
{
namespace detail
{
namespace
{

// The last axis: a block brings its rows of data into shared memory, where the order of the indices
// costs little, and meanwhile reads the first indices.
template <typename Elem, typename Index, int vector>
__global__ void __launch_bounds__(kStagedThreads) gatherStaged(StagedLayout const layout,
    Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
    int32_t* __restrict__ outOfRange)
{
    unsigned const group = blockIdx.x / static_cast<unsigned>(layout.segments);
    int32_t const offset = static_cast<int32_t>(blockIdx.x - group * layout.segments) * layout.segment;
    int64_t const row = static_cast<int64_t>(group) * layout.rowsPerBlock;
    int32_t const rows = static_cast<int32_t>(min(static_cast<int64_t>(layout.rowsPerBlock), layout.rows - row));
    int32_t const count = min(rows * layout.axisCount - offset, layout.segment);
    int32_t const elements = rows * layout.axisSize;

    // Shared memory holds the rows at the same distance from a multiple of 16 as global memory.
    Elem const* const from = data + row * layout.rowStride;
    int32_t const pad = static_cast<int32_t>(reinterpret_cast<uintptr_t>(from) & 15u);
    Elem* const staged = reinterpret_cast<Elem*>(reinterpret_cast<char*>(sharedBytes) + pad);
    constexpr int kPer16 = 16 / sizeof(Elem);
    int32_t const head = min(pad == 0 ? 0 : (16 - pad) / static_cast<int32_t>(sizeof(Elem)), elements);
    int32_t const body = (elements - head) / kPer16;
    for (int32_t k = threadIdx.x; k < body; k += kStagedThreads)
    {
        copyAsync<16>(staged + head + k * kPer16, from + head + k * kPer16);
    }
    int32_t const tail = head + body * kPer16;
    if (static_cast<int32_t>(threadIdx.x) < head)
    {
        staged[threadIdx.x] = from[threadIdx.x];
    }
    if (static_cast<int32_t>(threadIdx.x) < elements - tail)
    {
        staged[tail + threadIdx.x] = from[tail + threadIdx.x];
    }

    // Vectors begin at multiples of `vector` in the whole output; what lies before and after them
    // in this block goes one by one.
    int64_t const start = row * layout.axisCount + offset;
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
            uint32_t const line = layout.perRow.divide(static_cast<uint32_t>(offset + p));
            uint32_t column = static_cast<uint32_t>(offset + p) - line * layout.perRow.value;
            uint32_t base = line * size;
            Pack<Elem, vector> value;
#pragma unroll
            for (int k = 0; k < vector; ++k)
            {
                value.at[k] = staged[base + wrapIndex<uint32_t>(index.at[k], size, bad)];
                if (++column == layout.perRow.value)
                {
                    column = 0;
                    base += size;
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
                uint32_t const line = layout.perRow.divide(static_cast<uint32_t>(offset + p));
                to[p] = staged[line * size + wrapIndex<uint32_t>(index[u], size, bad)];
            }
        }
    }
    report(outOfRange, bad);
}

template <typename Elem, typename Index, int vector>
cudaError_t startStagedAs(Call const& call, StagedLayout const& layout, int64_t blocks, size_t shared,
    Device const& device)
{
    auto const kernel = gatherStaged<Elem, Index, vector>;
    cudaError_t const status = allowShared(kernel, shared, device);
    if (status != cudaSuccess)
    {
        return status;
    }
    return start(kernel, blocks, kStagedThreads, shared, call.stream, layout,
        static_cast<Elem const*>(call.args.data), static_cast<Index const*>(call.args.indices),
        static_cast<Elem*>(call.args.output), call.args.outOfRange);
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
