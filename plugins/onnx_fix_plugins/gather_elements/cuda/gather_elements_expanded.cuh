// The question by which the two kernels of the tiled path share out the work.
#ifndef ONNX_FIX_GATHER_ELEMENTS_EXPANDED_CUH
#define ONNX_FIX_GATHER_ELEMENTS_EXPANDED_CUH

#include "gather_elements_device.cuh"
#include "gather_elements_plans.h"

namespace onnx_fix
{
namespace detail
{

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

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_EXPANDED_CUH
