// Columns of data go through shared memory, one output at a time, by indices that differ inside the axis.
#include "gather_elements_device.cuh"
#include "gather_elements_expanded.cuh"
#include "gather_elements_launch.cuh"

namespace onnx_fix
{
namespace detail
{
namespace
{

// `width` columns of every place on the axis, of the tile that begins at `from`.
template <typename Elem, int bytes, bool askew>
__device__ __forceinline__ void copyColumns(
    char* staged, Elem const* from, ColumnLayout const& layout, int32_t width, Elem const* data)
{
    uint32_t const parts = static_cast<uint32_t>(layout.axisSize) * layout.copies.value;
    Elem const* const end = data + layout.dataCount;
    for (uint32_t k = threadIdx.x; k < parts; k += kColumnThreads)
    {
        uint32_t const place = layout.copies.divide(k);
        int32_t const at = static_cast<int32_t>(k - place * layout.copies.value) * bytes;
        char const* source = reinterpret_cast<char const*>(from + place * layout.axisStride);
        char* const to = staged + place * layout.pitch + at;
        int32_t const off = askew ? static_cast<int32_t>(reinterpret_cast<uintptr_t>(source) & (bytes - 1)) : 0;
        source += at - off;
        if (at >= off + width * static_cast<int32_t>(sizeof(Elem)))
        {
            continue;
        }
        if (askew
            && (source < reinterpret_cast<char const*>(data)
                || source + bytes > reinterpret_cast<char const*>(end)))
        {
            // The first or the last bytes of all data.
            for (int32_t b = 0; b < bytes; b += static_cast<int32_t>(sizeof(Elem)))
            {
                Elem const* const one = reinterpret_cast<Elem const*>(source + b);
                if (one >= data && one < end)
                {
                    *reinterpret_cast<Elem*>(to + b) = loadData(one);
                }
            }
            continue;
        }
        copyAsync<bytes>(to, source);
    }
}

template <typename Elem, typename Index, bool askew>
__global__ void __launch_bounds__(kColumnThreads, kColumnBlocks) gatherColumns(ColumnLayout const layout,
    Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
    int32_t* __restrict__ outOfRange)
{
    if (looksExpanded(layout.lines, layout.inner, indices))
    {
        return;
    }
    char* const staged = reinterpret_cast<char*>(sharedBytes);
    uint32_t const size = static_cast<uint32_t>(layout.axisSize);
    uint32_t const perTile = layout.perColumn.value;
    int32_t bad = 0;
    for (uint32_t block = blockIdx.x; block < layout.blocks; block += gridDim.x)
    {
        uint32_t const tile = block / static_cast<uint32_t>(layout.segments);
        int32_t const firstPlace = static_cast<int32_t>(block - tile * layout.segments) * layout.segment;
        uint32_t const row = tile / static_cast<uint32_t>(layout.tiles);
        int64_t const firstColumn = static_cast<int64_t>(tile - row * static_cast<uint32_t>(layout.tiles)) * perTile;
        uint32_t const width = static_cast<uint32_t>(min(layout.inner - firstColumn, static_cast<int64_t>(perTile)));
        uint32_t const places = static_cast<uint32_t>(min(layout.segment, layout.axisCount - firstPlace));
        Elem const* const from = data + row * layout.rowStride + firstColumn;
        int64_t const start = (static_cast<int64_t>(row) * layout.axisCount + firstPlace) * layout.inner + firstColumn;
        Index const* const wanted = indices + start;
        Elem* const to = output + start;
        uint32_t const outputs = places * perTile;
        uint32_t const off = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(from));
        uint32_t const skew = static_cast<uint32_t>(layout.axisStride * sizeof(Elem));

        constexpr int kLeast = sizeof(Elem) > 4 ? sizeof(Elem) : 4;
        switch (layout.copyBytes)
        {
        case 16: copyColumns<Elem, 16, false>(staged, from, layout, width, data); break;
        case 8: copyColumns<Elem, 8, false>(staged, from, layout, width, data); break;
        default: copyColumns<Elem, kLeast, askew>(staged, from, layout, width, data);
        }

        constexpr int kUnroll = askew ? 8 : 4; // Measured.
        Index next[kUnroll];
        auto const fetch = [&](uint32_t v) {
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                uint32_t const n = v + u * kColumnThreads;
                uint32_t const place = layout.perColumn.divide(n);
                uint32_t const column = n - place * perTile;
                if (n < outputs && column < width)
                {
                    next[u] = loadIndex(wanted + place * layout.inner + column);
                }
            }
        };
        fetch(threadIdx.x);
        waitForCopies();
        __syncthreads();
        for (uint32_t v = threadIdx.x; v < outputs; v += kColumnThreads * kUnroll)
        {
            Index index[kUnroll];
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                index[u] = next[u];
            }
            fetch(v + kColumnThreads * kUnroll);
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
            {
                uint32_t const n = v + u * kColumnThreads;
                uint32_t const place = layout.perColumn.divide(n);
                uint32_t const column = n - place * perTile;
                if (n < outputs && column < width)
                {
                    uint32_t const at = wrapIndex<uint32_t>(index[u], size, bad);
                    uint32_t const shift = askew ? (off + at * skew) & 3u : 0;
                    to[place * layout.inner + column] = *reinterpret_cast<Elem const*>(
                        staged + at * layout.pitch + shift + column * static_cast<uint32_t>(sizeof(Elem)));
                }
            }
        }
        __syncthreads(); // The next tile takes the place of this one.
    }
    report(outOfRange, bad);
}

template <typename Elem, typename Index, bool askew>
cudaError_t startColumnsAs(
    Call const& call, ColumnLayout const& layout, int64_t blocks, size_t shared, Device const& device)
{
    auto const kernel = gatherColumns<Elem, Index, askew>;
    cudaError_t const status = allowShared(kernel, shared, device);
    return status != cudaSuccess ? status
                                 : start(kernel, blocks, kColumnThreads, shared, call.stream, layout,
                                       static_cast<Elem const*>(call.args.data),
                                       static_cast<Index const*>(call.args.indices),
                                       static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

} // namespace

cudaError_t startColumns(
    Call const& call, ColumnLayout const& layout, int64_t blocks, size_t shared, Device const& device)
{
    return byTypes(call, [&](auto element, auto index) {
        using Elem = decltype(element);
        using Index = decltype(index);
        return layout.askew ? startColumnsAs<Elem, Index, (sizeof(Elem) < 4)>(call, layout, blocks, shared, device)
                            : startColumnsAs<Elem, Index, false>(call, layout, blocks, shared, device);
    });
}

} // namespace detail
} // namespace onnx_fix
