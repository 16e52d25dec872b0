// How the kernels reach memory: vectors of elements, loads of indices and data, asynchronous copies.
#ifndef ONNX_FIX_GATHER_ELEMENTS_DEVICE_CUH
#define ONNX_FIX_GATHER_ELEMENTS_DEVICE_CUH

#include "gather_elements_index.h"

#include <cuda_runtime.h>

namespace onnx_fix
{
namespace detail
{

// ---------------------------------------------------------------------------- global memory

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

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_DEVICE_CUH
