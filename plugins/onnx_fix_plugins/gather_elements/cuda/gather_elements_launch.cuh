// What the launches of all paths share.
#ifndef ONNX_FIX_GATHER_ELEMENTS_LAUNCH_CUH
#define ONNX_FIX_GATHER_ELEMENTS_LAUNCH_CUH

#include "gather_elements_paths.h"

#include <cuda_runtime.h>

namespace onnx_fix
{
namespace detail
{

// Calls run(element, index) with values of the types that move the elements and the indices.
template <typename Run>
cudaError_t byElement(Call const& call, Run const& run)
{
    switch (call.args.elementBytes)
    {
    case 1: return run(uint8_t{});
    case 2: return run(uint16_t{});
    case 4: return run(uint32_t{});
    default: return run(uint64_t{});
    }
}
template <typename Run>
cudaError_t byTypes(Call const& call, Run const& run)
{
    return byElement(call, [&](auto element) {
        return call.args.index64 ? run(element, int64_t{}) : run(element, int32_t{});
    });
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

template <typename Kernel>
cudaError_t allowShared(Kernel kernel, size_t shared, Device const& device)
{
    // Always the device's limit, so that calls from several threads ask for the same.
    return shared <= 48 * 1024 ? cudaSuccess
                               : cudaFuncSetAttribute(reinterpret_cast<void const*>(kernel),
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, device.sharedBytes);
}

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_LAUNCH_CUH
