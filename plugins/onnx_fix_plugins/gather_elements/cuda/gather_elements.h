// GatherElements of ONNX opset 13 on a CUDA stream. No TensorRT type appears here.
#ifndef ONNX_FIX_GATHER_ELEMENTS_H
#define ONNX_FIX_GATHER_ELEMENTS_H

#include <cstdint>

#include <cuda_runtime_api.h>

namespace onnx_fix
{

// The most dimensions that data and indices may have.
constexpr int32_t kGatherElementsMaxRank = 8;

// One call: output[i0, .., ir] = data[i0, .., indices[i0, .., ir], .., ir], the index in place `axis`.
struct GatherElementsArgs
{
    int32_t rank;         // of data, indices and output: 1 to 8
    int64_t dataDims[8];  // dense, row-major
    int64_t indexDims[8]; // dense, row-major; also the dims of output; at most dataDims but on `axis`
    int32_t axis;         // in [0, rank)
    int32_t elementBytes; // of data and output: 1, 2, 4 or 8
    bool index64;         // indices are int64_t, otherwise int32_t
    void const* data;     // aligned to elementBytes, as is output; no overlap with output
    void const* indices;  // aligned to its type; values in [-D, D - 1] where D = dataDims[axis]
    void* output;
    int32_t* outOfRange; // on the device, or null: the number of indices outside that range is added
};

// Enqueues the gather on `stream` and returns. It allocates nothing, waits for nothing and keeps no
// state, so that any number of threads may call it. An index out of range reads element 0 (below)
// or D - 1 (above); no index makes the kernel leave `data`.
//
// Returns cudaSuccess without a launch when `indices` has no elements; cudaErrorInvalidValue when
// the arguments are not what is said above, or when the axis of `data` is empty and `indices` is
// not; otherwise what the launch returned.
cudaError_t launchGatherElements(GatherElementsArgs const& args, cudaStream_t stream) noexcept;

} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_H
