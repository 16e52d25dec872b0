// Columns of data go through shared memory, by indices that differ inside the axis.
#include "gather_elements_device.cuh"
#include "gather_elements_expanded.cuh"
#include "gather_elements_launch.cuh"

namespace onnx_fix
{
namespace detail
{
namespace
{

// Columns `width` of every place on the axis, of the tile that begins at `from`.
template <typename Elem, int bytes>
__device__ __forceinline__ void copyTile(Elem* staged, Elem const* from, TiledLayout const& layout, int32_t width)
{
    constexpr int kElements = bytes / sizeof(Elem);
    int32_t const shift = layout.columnsShift - (kElements == 1 ? 0 : kElements == 2 ? 1 : kElements == 4 ? 2
                : kElements == 8                                ? 3
                                                                : 4);
    int32_t const mask = (1 << shift) - 1;
    int32_t const parts = layout.axisSize << shift;
    for (int32_t k = threadIdx.x; k < parts; k += kTiledThreads)
    {
        int32_t const column = (k & mask) * kElements;
        if (column < width)
        {
            copyAsync<bytes>(staged + k * kElements, from + (k >> shift) * layout.axisStride + column);
        }
    }
}

template <int count>
struct Log2
{
    static constexpr int kValue = 1 + Log2<count / 2>::kValue;
};
template <>
struct Log2<1>
{
    static constexpr int kValue = 0;
};

// This one serves all others: a block brings tiles of columns into shared memory, one after the
// other, where the order of the indices costs little.
template <typename Elem, typename Index, int vector>
__global__ void __launch_bounds__(kTiledThreads, kTiledBlocks) gatherTiled(TiledLayout const layout, Elem const* __restrict__ data,
    Index const* __restrict__ indices, Elem* __restrict__ output, int32_t* __restrict__ outOfRange)
{
    if (looksExpanded(layout, indices))
    {
        return;
    }
    int32_t bad = 0;
    for (uint32_t block = blockIdx.x; block < layout.blocks; block += gridDim.x)
    {
        uint32_t const whole = block / static_cast<uint32_t>(layout.segments);
        int32_t const firstPlace = static_cast<int32_t>(block - whole * layout.segments) * layout.segment;
        unsigned const row = whole / static_cast<unsigned>(layout.tiles);
        int64_t const firstColumn = static_cast<int64_t>(whole - row * static_cast<unsigned>(layout.tiles))
            << layout.columnsShift;
        int32_t const width
            = static_cast<int32_t>(min(layout.inner - firstColumn, int64_t{1} << layout.columnsShift));
        int32_t const places = min(layout.segment, layout.axisCount - firstPlace);
        Elem const* const from = data + row * layout.rowStride + firstColumn;
        int64_t const start = (static_cast<int64_t>(row) * layout.axisCount + firstPlace) * layout.inner + firstColumn;
        Index const* const wanted = indices + start;
        Elem* const to = output + start;
        uint32_t const size = static_cast<uint32_t>(layout.axisSize);
        constexpr int kShift = Log2<vector>::kValue;
        int32_t const shift = layout.columnsShift - kShift; // vectors in a line of the tile
        int32_t const mask = (1 << shift) - 1;
        int32_t const vectors = places << shift;

        Elem* const staged = reinterpret_cast<Elem*>(sharedBytes);
        switch (layout.copyBytes)
        {
        case 16: copyTile<Elem, 16>(staged, from, layout, width); break;
        case 8: copyTile<Elem, 8>(staged, from, layout, width); break;
        case 4: copyTile<Elem, sizeof(Elem) <= 4 ? 4 : 8>(staged, from, layout, width); break;
        default:
            for (int32_t k = threadIdx.x; k < (layout.axisSize << layout.columnsShift); k += kTiledThreads)
            {
                int32_t const column = k & ((1 << layout.columnsShift) - 1);
                if (column < width)
                {
                    staged[k] = loadData(from + (k >> layout.columnsShift) * layout.axisStride + column);
                }
            }
        }

        // Every thread holds the indices of its next vectors, to have several loads in flight.
        constexpr int kUnroll = vector == 1 ? 4 : (vector < 8 ? 2 : 1);
        Pack<Index, vector> next[kUnroll];
        auto const fetch = [&](int32_t v) {
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                int32_t const n = v + u * kTiledThreads;
                int32_t const column = (n & mask) << kShift;
                if (n < vectors && column < width)
                {
                    next[u] = loadPack<true, Index, vector>(wanted + (n >> shift) * layout.inner + column);
                }
            }
        };
        fetch(threadIdx.x);
        waitForCopies();
        __syncthreads();
        for (int32_t v = threadIdx.x; v < vectors; v += kTiledThreads * kUnroll)
        {
            Pack<Index, vector> index[kUnroll];
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                index[u] = next[u];
            }
            fetch(v + kTiledThreads * kUnroll);
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                int32_t const n = v + u * kTiledThreads;
                int32_t const column = (n & mask) << kShift;
                if (n < vectors && column < width)
                {
                    Pack<Elem, vector> value;
#pragma unroll
                    for (int k = 0; k < vector; ++k)
                    {
                        uint32_t const at = wrapIndex<uint32_t>(index[u].at[k], size, bad);
                        value.at[k] = staged[(at << layout.columnsShift) + column + k];
                    }
                    storePack<Elem, vector>(to + (n >> shift) * layout.inner + column, value);
                }
            }
        }
        __syncthreads(); // The next tile takes the place of this one.
    }
    report(outOfRange, bad);
}

template <typename Elem, typename Index, int vector>
cudaError_t startTiledAs(Call const& call, TiledLayout const& layout, int64_t blocks, size_t shared,
    Device const& device)
{
    auto const kernel = gatherTiled<Elem, Index, vector>;
    cudaError_t const status = allowShared(kernel, shared, device);
    int64_t const resident = tiledPerProcessor(shared, device) * device.processors;
    return status != cudaSuccess ? status
                                 : start(kernel, blocks < resident ? blocks : resident, kTiledThreads, shared,
                                       call.stream, layout, static_cast<Elem const*>(call.args.data),
                                       static_cast<Index const*>(call.args.indices),
                                       static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

} // namespace

cudaError_t startTiled(
    Call const& call, TiledLayout const& layout, int64_t blocks, size_t shared, bool vectors, Device const& device)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        return vectors ? startTiledAs<Elem, Index, vectorOf(sizeof(Elem))>(call, layout, blocks, shared, device)
                       : startTiledAs<Elem, Index, 1>(call, layout, blocks, shared, device);
    });
}

} // namespace detail
} // namespace onnx_fix
