// Rows of data that do not fit into shared memory go through it piece by piece; the last axis only.
#include "gather_elements_device.cuh"
#include "gather_elements_launch.cuh"

namespace onnx_fix
{
namespace detail
{
namespace
{

// Threads and loads of indices that were measured to be the best: a processor holds one block, so
// that all its loads in flight are those of this block.
template <int each>
struct PieceShape
{
    static constexpr int kThreads = each == 1 ? 1024 : 512;
    static constexpr int kUnroll = 4;
};

// A block brings one piece of a row into shared memory, reads all indices of the row and writes those
// outputs that the piece holds. The blocks of a row follow one another, so that they run at the same
// time: the indices are in the second-level cache for all but the first of them, where their writes
// meet, too. `each`: indices per load.
template <typename Elem, typename Index, int each>
__global__ void __launch_bounds__(PieceShape<each>::kThreads, 1) gatherPieces(PieceLayout const layout,
    Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
    int32_t* __restrict__ outOfRange)
{
    constexpr int kThreads = PieceShape<each>::kThreads;
    constexpr int kUnroll = PieceShape<each>::kUnroll;
    PieceShare const share = shareOf(layout, blockIdx.x);
    int32_t const count = share.count;
    Elem const* const staged = copyRow<kThreads>(
        data + share.row * layout.rowStride + share.first, static_cast<int32_t>(share.held));

    int64_t const start = share.row * layout.axisCount + share.offset;
    Index const* const wanted = indices + start;
    Elem* const to = output + start;
    uint32_t const size = static_cast<uint32_t>(layout.axisSize);
    int32_t bad = 0;
    auto const put = [&](Index index, int32_t p) {
        int32_t found = 0;
        uint32_t const at = wrapIndex<uint32_t>(index, size, found) - share.first;
        if (at < share.held)
        {
            // An index out of range is counted by the block that holds what it reads.
            bad += found;
            to[p] = staged[at];
        }
    };

    // Vectors of indices begin at multiples of `each`; what lies before and after goes one by one.
    int32_t const before = min(static_cast<int32_t>((each - start % each) % each), count);
    int32_t const vectors = (count - before) / each;
    int32_t const after = before + vectors * each;
    Pack<Index, each> next[kUnroll];
    auto const fetch = [&](int32_t v) {
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            int32_t const n = v + u * kThreads;
            if (n < vectors)
            {
                if (each == 1)
                {
                    next[u].at[0] = loadIndex(wanted + n);
                }
                else
                {
                    next[u] = loadPack<true, Index, each>(wanted + before + n * each);
                }
            }
        }
    };
    fetch(threadIdx.x);
    waitForCopies();
    __syncthreads();
    for (int32_t v = threadIdx.x; v < vectors; v += kThreads * kUnroll)
    {
        Pack<Index, each> index[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            index[u] = next[u];
        }
        fetch(v + kThreads * kUnroll);
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
        {
            int32_t const n = v + u * kThreads;
            if (n < vectors)
            {
#pragma unroll
                for (int k = 0; k < each; ++k)
                {
                    put(index[u].at[k], before + n * each + k);
                }
            }
        }
    }
    if (each > 1 && static_cast<int32_t>(threadIdx.x) < before)
    {
        put(loadIndex(wanted + threadIdx.x), static_cast<int32_t>(threadIdx.x));
    }
    if (each > 1 && static_cast<int32_t>(threadIdx.x) < count - after)
    {
        put(loadIndex(wanted + after + threadIdx.x), after + static_cast<int32_t>(threadIdx.x));
    }
    report(outOfRange, bad);
}

template <typename Elem, typename Index, int each>
cudaError_t startPiecesAs(
    Call const& call, PieceLayout const& layout, int64_t blocks, size_t shared, Device const& device)
{
    auto const kernel = gatherPieces<Elem, Index, each>;
    cudaError_t const status = allowShared(kernel, shared, device);
    return status != cudaSuccess ? status
                                 : start(kernel, blocks, PieceShape<each>::kThreads, shared, call.stream, layout,
                                       static_cast<Elem const*>(call.args.data),
                                       static_cast<Index const*>(call.args.indices),
                                       static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

} // namespace

cudaError_t startPieces(
    Call const& call, PieceLayout const& layout, int64_t blocks, size_t shared, bool vectors, Device const& device)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        constexpr int kEach = sizeof(Index) == 4 ? 4 : 1;
        return vectors ? startPiecesAs<Elem, Index, kEach>(call, layout, blocks, shared, device)
                       : startPiecesAs<Elem, Index, 1>(call, layout, blocks, shared, device);
    });
}

} // namespace detail
} // namespace onnx_fix
