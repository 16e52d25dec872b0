#include "gather_elements.h"

#include "gather_elements_index.h"
#include "gather_elements_tuning.h"

#include <cuda_runtime.h>

namespace onnx_fix
{
namespace
{

using namespace detail;

// ---------------------------------------------------------------------------- memory access

// `count` elements that move together, by as few accesses of at most 16 bytes as hold them.
template <typename T, int count>
struct alignas(sizeof(T) * count < 16 ? sizeof(T) * count : 16) Pack
{
    T at[count];
};

template <int bytes>
struct Chunk;
template <>
struct Chunk<1>
{
    using Type = unsigned char;
};
template <>
struct Chunk<2>
{
    using Type = unsigned short;
};
template <>
struct Chunk<4>
{
    using Type = unsigned int;
};
template <>
struct Chunk<8>
{
    using Type = uint2;
};
template <>
struct Chunk<16>
{
    using Type = uint4;
};

// Indices are read once: they need no place in the first-level cache, which data can use.
__device__ __forceinline__ uint4 loadOnce(uint4 const* from)
{
#if CUDART_VERSION >= 11040
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from));
    return v;
#else
    return __ldg(from);
#endif
}

template <typename T>
__device__ __forceinline__ T loadOnce(T const* from)
{
    return __ldg(from);
}

template <bool once, typename T, int count>
__device__ __forceinline__ Pack<T, count> loadPack(T const* from)
{
    constexpr int kBytes = sizeof(T) * count;
    constexpr int kChunk = kBytes < 16 ? kBytes : 16;
    using Part = typename Chunk<kChunk>::Type;
    union
    {
        Part part[kBytes / kChunk];
        Pack<T, count> pack;
    } both;
    Part const* parts = reinterpret_cast<Part const*>(from);
#pragma unroll
    for (int k = 0; k < kBytes / kChunk; ++k)
    {
        both.part[k] = once && kBytes <= 16 ? loadOnce(parts + k) : __ldg(parts + k);
    }
    return both.pack;
}

template <typename T, int count>
__device__ __forceinline__ void storePack(T* to, Pack<T, count> const& pack)
{
    *reinterpret_cast<Pack<T, count>*>(to) = pack;
}

// int64_t is `long`, for which __ldg has no overload on every platform that nvcc serves.
__device__ __forceinline__ int64_t loadIndex(int64_t const* from)
{
    return static_cast<int64_t>(__ldg(reinterpret_cast<long long const*>(from)));
}
__device__ __forceinline__ int32_t loadIndex(int32_t const* from)
{
    return __ldg(from);
}

template <typename T>
__device__ __forceinline__ T loadData(T const* from)
{
    using Part = typename Chunk<sizeof(T)>::Type;
    union
    {
        Part part;
        T value;
    } both;
    both.part = __ldg(reinterpret_cast<Part const*>(from));
    return both.value;
}

__device__ __forceinline__ void report(int32_t* outOfRange, int32_t found)
{
    if (outOfRange != nullptr && found != 0)
    {
        atomicAdd(outOfRange, found);
    }
}

// ---------------------------------------------------------------------------- data where it lies

constexpr int kFlatThreads = 128;

template <typename Elem, int vector>
struct Unroll
{
    static constexpr int kFlat = vector == 1 ? 4 : (vector < 8 ? 8 / vector : 1);
};

// Every thread computes kFlat vectors of consecutive outputs: first all indices, then all data,
// then all stores, so that the loads of one kind are in flight together.
template <typename Elem, typename Index, typename Offset, int vector, bool middle>
__global__ void __launch_bounds__(kFlatThreads) gatherFlat(Layout<Offset> const layout, bool const dataVectors,
    Elem const* __restrict__ data, Index const* __restrict__ indices, Elem* __restrict__ output,
    int32_t* __restrict__ outOfRange)
{
    constexpr int kUnroll = Unroll<Elem, vector>::kFlat;
    constexpr int kBlock = kFlatThreads * kUnroll * vector;
    Offset const first = static_cast<Offset>(blockIdx.x) * kBlock;
    int32_t bad = 0;
    if (layout.count - first < static_cast<Offset>(kBlock))
    {
        // The last block: one output at a time.
        for (Offset p = first + threadIdx.x; p < layout.count; p += kFlatThreads)
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
        Offset const p = first + (u * kFlatThreads + threadIdx.x) * vector;
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
        Offset const p = first + (u * kFlatThreads + threadIdx.x) * vector;
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
        Offset const p = first + (u * kFlatThreads + threadIdx.x) * vector;
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

// ---------------------------------------------------------------------------- shared memory

// `bytes`, 4, 8 or 16, from global to shared memory; both addresses are multiples of that.
template <int bytes>
__device__ __forceinline__ void copyAsync(void* to, void const* from)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned const at = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(at), "l"(from), "n"(bytes) : "memory");
#else
    using Part = typename Chunk<bytes>::Type;
    *static_cast<Part*>(to) = *static_cast<Part const*>(from);
#endif
}

__device__ __forceinline__ void waitForCopies()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

extern __shared__ uint4 sharedBytes[];

constexpr int kStagedThreads = 512;

struct StagedLayout
{
    int64_t rows;
    int64_t rowStride;     // elements of data between two rows
    int32_t axisSize;      // D
    int32_t axisCount;     // K
    int32_t rowsPerBlock;  // more than one only where rows of data follow one another
    int32_t segments;      // blocks per row; more than one only where rowsPerBlock is one
    int32_t segment;       // outputs of such a block, a multiple of the vector
    Divisor<uint32_t> perRow; // K
};

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

constexpr int kTiledThreads = 512;
constexpr int kTiledBlocks = 2; // on a processor, at most

struct TiledLayout
{
    int64_t rowStride;  // elements of data between two rows
    int64_t axisStride; // elements of data between neighbours on the axis
    int64_t inner;
    int64_t tiles;        // column tiles per row
    int32_t axisSize;     // D
    int32_t axisCount;    // K
    int32_t columnsShift; // a tile has 2^columnsShift columns
    int32_t segments;     // pieces of a tile's outputs, ..
    int32_t segment;      // .. of so many places on the axis
    uint32_t blocks;      // rows x tiles x segments
    int32_t copyBytes;    // of one asynchronous copy: 16, 8 or 4; 0: element by element
    // For indices that are alike along the inner dims:
    int64_t lines;                 // rows x K
    Divisor<uint32_t> lineVectors; // vectors of `inner`
    Divisor<uint32_t> places;      // K
    bool dataVectors;              // vectors of data are aligned
};

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

// Whether the indices are alike along the inner dims, judged by the same samples in every block, so
// that all blocks agree. It decides how fast the result comes, not what it is.
template <typename Index>
__device__ __forceinline__ bool looksExpanded(TiledLayout const& layout, Index const* indices)
{
    constexpr int kSamples = 128;
    bool alike = true;
    if (threadIdx.x < kSamples)
    {
        int64_t const step = (layout.lines - 1) / kSamples + 1;
        int64_t const line = static_cast<int64_t>(threadIdx.x) * step;
        if (line < layout.lines)
        {
            // Neighbours somewhere in the line, and the ends of it.
            Index const* const from = indices + line * layout.inner;
            int64_t const column = (layout.inner - 1) * threadIdx.x / kSamples;
            Index const first = loadIndex(from);
            alike = loadIndex(from + column) == first && loadIndex(from + column + 1) == first;
        }
    }
    return __syncthreads_and(alike) != 0;
}

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

// ---------------------------------------------------------------------------- launches

template <int elementBytes>
struct ElementOf;
template <>
struct ElementOf<1>
{
    using Type = uint8_t;
};
template <>
struct ElementOf<2>
{
    using Type = uint16_t;
};
template <>
struct ElementOf<4>
{
    using Type = uint32_t;
};
template <>
struct ElementOf<8>
{
    using Type = uint64_t;
};

// Outputs per vector: 16 bytes of output, or 8 outputs.
template <typename Elem>
struct VectorOf
{
    static constexpr int kCount = sizeof(Elem) == 8 ? 2 : (sizeof(Elem) == 4 ? 4 : 8);
};

// Where few places of many are read, more threads with less each do better: 16 bytes of indices.
template <typename Elem, typename Index>
struct NarrowVectorOf
{
    static constexpr int kCount = 16 / (sizeof(Elem) > sizeof(Index) ? sizeof(Elem) : sizeof(Index));
};

struct Call
{
    GatherElementsArgs const& args;
    Plan const& plan;
    cudaStream_t stream;
};

inline int64_t divideUp(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
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

inline bool aligned(void const* pointer, size_t bytes)
{
    return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

template <typename Kernel, typename... Args>
cudaError_t start(Kernel kernel, int64_t blocks, int threads, size_t shared, cudaStream_t stream, Args... args)
{
    if (blocks > 0x7fffffff)
    {
        return cudaErrorInvalidValue;
    }
    void* pointers[] = {static_cast<void*>(&args)...};
    return cudaLaunchKernel(reinterpret_cast<void const*>(kernel), dim3(static_cast<unsigned>(blocks)),
        dim3(static_cast<unsigned>(threads)), pointers, shared, stream);
}

template <typename Elem, typename Index, typename Offset, int vector, bool middle>
cudaError_t startFlat(Call const& call)
{
    constexpr int64_t kBlock = int64_t{kFlatThreads} * Unroll<Elem, vector>::kFlat * vector;
    bool const dataVectors = call.plan.rowStride % vector == 0 && call.plan.axisStride % vector == 0
        && aligned(call.args.data, sizeof(Pack<Elem, vector>) < 16 ? sizeof(Pack<Elem, vector>) : 16);
    return start(gatherFlat<Elem, Index, Offset, vector, middle>, divideUp(call.plan.count, kBlock), kFlatThreads, 0,
        call.stream, makeLayout<Offset>(call.plan), dataVectors, static_cast<Elem const*>(call.args.data),
        static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

template <typename Elem, typename Index, typename Offset>
cudaError_t startFlat(Call const& call, bool vectors)
{
    constexpr int kVector = VectorOf<Elem>::kCount;
    constexpr int kNarrow = NarrowVectorOf<Elem, Index>::kCount;
    switch (call.plan.form)
    {
    case Form::kLast:
        if (vectors && kNarrow != kVector && scattered(call.plan, sizeof(Elem)))
        {
            return startFlat<Elem, Index, Offset, kNarrow, false>(call);
        }
        return vectors ? startFlat<Elem, Index, Offset, kVector, false>(call)
                       : startFlat<Elem, Index, Offset, 1, false>(call);
    case Form::kMiddle:
        return vectors ? startFlat<Elem, Index, Offset, kVector, true>(call)
                       : startFlat<Elem, Index, Offset, 1, true>(call);
    default:
        return start(gatherGeneral<Elem, Index, Offset>, divideUp(call.plan.count, kFlatThreads * 4), kFlatThreads, 0,
            call.stream, makeGeneralLayout<Offset>(call.plan), static_cast<Elem const*>(call.args.data),
            static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output),
            call.args.outOfRange);
    }
}

struct Device
{
    int processors;
    int sharedBytes; // that a block may ask for
    int sharedInAll; // of a processor
    int cacheBytes;  // of the second level
    int threads;     // that a processor holds
};

cudaError_t askDevice(Device& device)
{
    int current = 0;
    cudaError_t status = cudaGetDevice(&current);
    if (status == cudaSuccess)
    {
        status = cudaDeviceGetAttribute(&device.processors, cudaDevAttrMultiProcessorCount, current);
    }
    if (status == cudaSuccess)
    {
        status = cudaDeviceGetAttribute(&device.sharedBytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, current);
    }
    if (status == cudaSuccess)
    {
        status = cudaDeviceGetAttribute(
            &device.sharedInAll, cudaDevAttrMaxSharedMemoryPerMultiprocessor, current);
    }
    if (status == cudaSuccess)
    {
        status = cudaDeviceGetAttribute(&device.cacheBytes, cudaDevAttrL2CacheSize, current);
    }
    if (status == cudaSuccess)
    {
        status = cudaDeviceGetAttribute(&device.threads, cudaDevAttrMaxThreadsPerMultiProcessor, current);
    }
    return status;
}

constexpr int64_t kStagedOutputs = 8192;    // that a block of several rows computes
constexpr int64_t kStagedBytes = 32 * 1024; // of data for such a block

// How rows are shared out among blocks; false where they do not fit.
bool planStaged(Plan const& plan, int64_t elementBytes, int64_t vector, Device const& device, StagedLayout& layout,
    int64_t& blocks, size_t& shared)
{
    if (plan.form != Form::kLast || plan.axisStride != 1 || plan.axisCount >= (1 << 28)
        || plan.axisSize * elementBytes + 16 > device.sharedBytes)
    {
        return false;
    }
    int64_t const wanted = 2 * static_cast<int64_t>(device.processors); // blocks, to have them all at work
    int64_t rows = 1, segments = 1, segment = plan.axisCount;
    if (plan.rows >= 2 * wanted && plan.rowStride == plan.axisSize)
    {
        rows = kStagedOutputs / plan.axisCount;
        rows = rows < kStagedBytes / (plan.axisSize * elementBytes) ? rows
                                                                    : kStagedBytes / (plan.axisSize * elementBytes);
        rows = rows < plan.rows / wanted ? rows : plan.rows / wanted;
        rows = rows > 1 ? rows : 1;
        segment = rows * plan.axisCount;
    }
    else if (plan.rows < wanted)
    {
        // A segment is worth reading the row again when its indices and outputs are more than that.
        int64_t const least = plan.axisSize > kStagedThreads * vector ? plan.axisSize : kStagedThreads * vector;
        segments = divideUp(wanted, plan.rows);
        segments = segments < plan.axisCount / least ? segments : plan.axisCount / least;
        segments = segments > 1 ? segments : 1;
        segment = divideUp(divideUp(plan.axisCount, segments), vector) * vector;
        segments = divideUp(plan.axisCount, segment);
    }
    layout.rows = plan.rows;
    layout.rowStride = plan.rowStride;
    layout.axisSize = static_cast<int32_t>(plan.axisSize);
    layout.axisCount = static_cast<int32_t>(plan.axisCount);
    layout.rowsPerBlock = static_cast<int32_t>(rows);
    layout.segments = static_cast<int32_t>(segments);
    layout.segment = static_cast<int32_t>(segment);
    layout.perRow = makeDivisor<uint32_t>(plan.axisCount);
    blocks = divideUp(plan.rows, rows) * segments;
    shared = static_cast<size_t>(rows * plan.axisSize * elementBytes + 16);
    return true;
}

// Whether the order of the indices costs more than bringing whole rows. The bounds were measured.
bool worthStaging(Plan const& plan, int64_t elementBytes, StagedLayout const& layout, int64_t blocks,
    Device const& device)
{
    int64_t const perBlock = layout.rowsPerBlock > 1 ? int64_t{layout.rowsPerBlock} * plan.axisCount : layout.segment;
    int64_t const least = plan.count >= (1 << 22) ? 1024 : 8192;
    return !sparse(plan, elementBytes) && plan.axisSize * elementBytes >= least && perBlock >= 1024
        && blocks * 2 >= device.processors;
}

constexpr int64_t kTiledLine = 32;
constexpr int64_t kTiledBytes = 64 * 1024; // of data for a block

// How columns are shared out among blocks; false where no tile fits.
bool planTiled(Plan const& plan, void const* data, int64_t elementBytes, int64_t vector, int64_t lineVector,
    Device const& device, TiledLayout& layout, int64_t& blocks, size_t& shared)
{
    int64_t const line = plan.axisSize * elementBytes; // bytes of one column
    if (plan.form != Form::kMiddle || plan.inner < 2 || line * vector > device.sharedBytes || plan.axisCount >= (1 << 24))
    {
        return false;
    }
    int32_t shift = 0;
    while ((int64_t{1} << shift) < vector)
    {
        ++shift;
    }
    // Wide tiles, as long as they are small; then at least the 32 bytes that memory moves at once.
    int64_t const wanted = 2 * static_cast<int64_t>(device.processors);
    auto const wider = [&](int64_t limit) {
        int64_t const columns = int64_t{2} << shift;
        return (int64_t{1} << shift) < plan.inner && line * columns <= limit;
    };
    while (wider(device.sharedBytes) && (elementBytes << shift) < kTiledLine)
    {
        ++shift;
    }
    while (wider(kTiledBytes) && (elementBytes << shift) < 512
        && plan.rows * divideUp(plan.inner, int64_t{2} << shift) >= wanted)
    {
        ++shift;
    }
    layout.tiles = divideUp(plan.inner, int64_t{1} << shift);
    if (layout.tiles * plan.rows > 0x3fffffff || (plan.axisCount << shift) >= (1 << 30))
    {
        return false;
    }
    int64_t segments = divideUp(wanted, layout.tiles * plan.rows);
    int64_t const most = plan.axisCount / plan.axisSize; // A tile is read again by every block of it.
    segments = segments < most ? segments : most;
    segments = segments > 1 ? segments : 1;
    int64_t const segment = divideUp(plan.axisCount, segments);
    segments = divideUp(plan.axisCount, segment);
    layout.rowStride = plan.rowStride;
    layout.axisStride = plan.axisStride;
    layout.inner = plan.inner;
    layout.axisSize = static_cast<int32_t>(plan.axisSize);
    layout.axisCount = static_cast<int32_t>(plan.axisCount);
    layout.columnsShift = shift;
    layout.segments = static_cast<int32_t>(segments);
    layout.segment = static_cast<int32_t>(segment);
    layout.copyBytes = 0;
    for (int64_t bytes = 16; bytes >= 4 && bytes >= elementBytes && layout.copyBytes == 0; bytes /= 2)
    {
        bool const fits = (elementBytes << shift) % bytes == 0 && plan.inner * elementBytes % bytes == 0
            && plan.rowStride * elementBytes % bytes == 0 && plan.axisStride * elementBytes % bytes == 0
            && aligned(data, static_cast<size_t>(bytes));
        layout.copyBytes = fits ? static_cast<int32_t>(bytes) : 0;
    }
    blocks = layout.tiles * plan.rows * segments;
    layout.lines = plan.rows * plan.axisCount;
    // Offsets in a chunk of lines are 32-bit, counted from the line in which it begins.
    if (plan.inner >= (1 << 30) || blocks > 0x3fffffff)
    {
        return false;
    }
    layout.blocks = static_cast<uint32_t>(blocks);
    layout.lineVectors = makeDivisor<uint32_t>(plan.inner / lineVector);
    layout.places = makeDivisor<uint32_t>(plan.axisCount);
    size_t const packBytes = static_cast<size_t>(elementBytes * lineVector);
    layout.dataVectors = plan.rowStride % lineVector == 0 && plan.axisStride % lineVector == 0
        && aligned(data, packBytes < 16 ? packBytes : 16);
    shared = static_cast<size_t>(line << shift);
    return true;
}

// Blocks of gatherTiled that a processor runs at once, as shared memory and registers allow.
int64_t tiledPerProcessor(size_t shared, Device const& device)
{
    int64_t const fit = device.sharedInAll / static_cast<int64_t>(shared + 1024);
    return fit < 1 ? 1 : (fit > kTiledBlocks ? kTiledBlocks : fit);
}

// Whether bringing whole tiles costs less than reading single elements, each of which moves 32
// bytes, should the indices differ across columns; and whether there are blocks for all. A narrow
// tile does only where single reads would not find a row of data in the second-level cache.
bool worthTiling(Plan const& plan, int64_t elementBytes, TiledLayout const& layout, int64_t blocks,
    Device const& device)
{
    int64_t const width = elementBytes << layout.columnsShift;
    return layout.segment * int64_t{16} >= plan.axisSize * elementBytes
        && blocks >= device.processors && plan.count >= (1 << 21)
        && (width >= kTiledLine
            || (width >= 8 && plan.axisSize * plan.axisStride * elementBytes > device.cacheBytes));
}

template <typename Kernel>
cudaError_t allowShared(Kernel kernel, size_t shared, Device const& device)
{
    // Always the device's limit, so that calls from several threads ask for the same.
    return shared <= 48 * 1024 ? cudaSuccess
                               : cudaFuncSetAttribute(reinterpret_cast<void const*>(kernel),
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, device.sharedBytes);
}

template <typename Elem, typename Index, int vector>
cudaError_t startLines(Call const& call, TiledLayout const& layout, Device const& device)
{
    int64_t const chunks = divideUp(layout.lines * layout.lineVectors.value, LineShape<vector>::kChunk);
    int64_t const fit = device.threads / kLineThreads;
    int64_t const resident = (fit < kLineBlocks ? fit : kLineBlocks) * device.processors;
    return start(gatherLines<Elem, Index, vector>, chunks < resident ? chunks : resident, kLineThreads, 0,
        call.stream, layout, static_cast<Elem const*>(call.args.data),
        static_cast<Index const*>(call.args.indices), static_cast<Elem*>(call.args.output), call.args.outOfRange);
}

template <typename Elem, typename Index, int vector>
cudaError_t startTiled(Call const& call, TiledLayout const& layout, int64_t blocks, size_t shared,
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

template <typename Elem, typename Index, int vector>
cudaError_t startStaged(Call const& call, StagedLayout const& layout, int64_t blocks, size_t shared,
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

template <typename Elem, typename Index>
cudaError_t dispatch(Call const& call, GatherTuning const& tuning, GatherChoice& choice)
{
    constexpr int kVector = VectorOf<Elem>::kCount;
    constexpr size_t kIndexBytes = sizeof(Index) * kVector < 16 ? sizeof(Index) * kVector : 16;
    constexpr size_t kOutputBytes = sizeof(Elem) * kVector < 16 ? sizeof(Elem) * kVector : 16;
    bool const vectors = !tuning.scalar && aligned(call.args.indices, kIndexBytes)
        && aligned(call.args.output, kOutputBytes)
        && (call.plan.form != Form::kMiddle || call.plan.inner % kVector == 0);
    choice.wide = tuning.wide || !fitsIn32(call.plan);
    choice.vector = vectors && call.plan.form != Form::kGeneral ? kVector : 1;
    bool const automatic = tuning.path == GatherPath::kAuto;
    Device device{};
    int64_t blocks = 0;
    size_t shared = 0;
    if (call.plan.form != Form::kGeneral && tuning.path != GatherPath::kFlat)
    {
        cudaError_t const status = askDevice(device);
        if (status != cudaSuccess)
        {
            return status;
        }
    }
    StagedLayout staged{};
    if ((automatic || tuning.path == GatherPath::kStaged)
        && planStaged(call.plan, sizeof(Elem), choice.vector, device, staged, blocks, shared)
        && (!automatic || worthStaging(call.plan, sizeof(Elem), staged, blocks, device)))
    {
        choice.path = GatherPath::kStaged;
        return vectors ? startStaged<Elem, Index, kVector>(call, staged, blocks, shared, device)
                       : startStaged<Elem, Index, 1>(call, staged, blocks, shared, device);
    }
    // Without vectors single reads were measured to be the better choice.
    for (int64_t vector = choice.vector; (automatic && vectors) || tuning.path == GatherPath::kTiled; vector = 1)
    {
        // Columns that are too long for a tile of whole vectors may fit as a narrower one.
        TiledLayout tiled{};
        if (planTiled(call.plan, call.args.data, sizeof(Elem), vector, choice.vector, device, tiled, blocks, shared)
            && (!automatic || worthTiling(call.plan, sizeof(Elem), tiled, blocks, device)))
        {
            choice.path = GatherPath::kTiled;
            cudaError_t const status = vectors ? startLines<Elem, Index, kVector>(call, tiled, device)
                                               : startLines<Elem, Index, 1>(call, tiled, device);
            return status != cudaSuccess ? status
                : vector > 1 ? startTiled<Elem, Index, kVector>(call, tiled, blocks, shared, device)
                             : startTiled<Elem, Index, 1>(call, tiled, blocks, shared, device);
        }
        if (vector == 1)
        {
            break;
        }
    }
    if (!automatic && tuning.path != GatherPath::kFlat)
    {
        return cudaErrorNotSupported;
    }
    choice.path = GatherPath::kFlat;
    return choice.wide ? startFlat<Elem, Index, uint64_t>(call, vectors)
                       : startFlat<Elem, Index, uint32_t>(call, vectors);
}

template <typename Elem>
cudaError_t dispatch(Call const& call, GatherTuning const& tuning, GatherChoice& choice)
{
    return call.args.index64 ? dispatch<Elem, int64_t>(call, tuning, choice)
                             : dispatch<Elem, int32_t>(call, tuning, choice);
}

} // namespace

cudaError_t launchGatherElementsTuned(GatherElementsArgs const& args, GatherTuning const& tuning,
    GatherChoice* choice, cudaStream_t stream) noexcept
{
    int32_t const bytes = args.elementBytes;
    Plan plan;
    if ((bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8)
        || !makePlan(args.rank, args.dataDims, args.indexDims, args.axis, plan))
    {
        return cudaErrorInvalidValue;
    }
    if (plan.count == 0)
    {
        return cudaSuccess;
    }
    if (args.data == nullptr || args.indices == nullptr || args.output == nullptr
        || !aligned(args.data, static_cast<size_t>(bytes)) || !aligned(args.output, static_cast<size_t>(bytes))
        || !aligned(args.indices, args.index64 ? 8 : 4) || !aligned(args.outOfRange, 4))
    {
        return cudaErrorInvalidValue;
    }
    Call const call{args, plan, stream};
    GatherChoice made{};
    cudaError_t status = cudaErrorInvalidValue;
    switch (bytes)
    {
    case 1: status = dispatch<ElementOf<1>::Type>(call, tuning, made); break;
    case 2: status = dispatch<ElementOf<2>::Type>(call, tuning, made); break;
    case 4: status = dispatch<ElementOf<4>::Type>(call, tuning, made); break;
    default: status = dispatch<ElementOf<8>::Type>(call, tuning, made); break;
    }
    if (choice != nullptr)
    {
        *choice = made;
    }
    return status;
}

cudaError_t launchGatherElements(GatherElementsArgs const& args, cudaStream_t stream) noexcept
{
    return launchGatherElementsTuned(args, GatherTuning{}, nullptr, stream);
}

} // namespace onnx_fix
