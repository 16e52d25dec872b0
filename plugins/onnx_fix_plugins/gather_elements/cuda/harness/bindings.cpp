// The launch with a C interface, for ctypes.
#include "../gather_elements_tuning.h"

#include <algorithm>

extern "C" int gatherElements(int rank, long long const* dataDims, long long const* indexDims, int axis,
    int elementBytes, int index64, void const* data, void const* indices, void* output, int* outOfRange, int path,
    int wide, int scalar, int* choice, void* stream)
{
    onnx_fix::GatherElementsArgs args{};
    args.rank = rank;
    std::copy(dataDims, dataDims + std::min(std::max(rank, 0), 8), args.dataDims);
    std::copy(indexDims, indexDims + std::min(std::max(rank, 0), 8), args.indexDims);
    args.axis = axis;
    args.elementBytes = elementBytes;
    args.index64 = index64 != 0;
    args.data = data;
    args.indices = indices;
    args.output = output;
    args.outOfRange = outOfRange;
    onnx_fix::GatherTuning const tuning{static_cast<onnx_fix::GatherPath>(path), wide != 0, scalar != 0};
    onnx_fix::GatherChoice made{};
    cudaError_t const status
        = onnx_fix::launchGatherElementsTuned(args, tuning, &made, static_cast<cudaStream_t>(stream));
    choice[0] = static_cast<int>(made.path);
    choice[1] = made.wide;
    choice[2] = made.vector;
    return static_cast<int>(status);
}
