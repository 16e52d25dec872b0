// The choices that launchGatherElements makes by itself, open to the tests and the timings.
#ifndef ONNX_FIX_GATHER_ELEMENTS_TUNING_H
#define ONNX_FIX_GATHER_ELEMENTS_TUNING_H

#include "gather_elements.h"

namespace onnx_fix
{

enum class GatherPath : int32_t
{
    kAuto = 0,
    kFlat = 1,   // data is read where it lies
    kStaged = 2, // rows of data go through shared memory, with all inner dims
    kTiled = 3,  // columns of data go through shared memory; an axis with contiguous dims inside
    kPieces = 4, // rows of data that are too long for that go through it in pieces; last axis only
};

struct GatherTuning
{
    GatherPath path;
    bool wide;   // 64-bit offsets, also where 32 bits are enough
    bool scalar; // no vectors of outputs
};

struct GatherChoice
{
    GatherPath path;
    bool wide;
    int32_t vector; // outputs per access
};

// launchGatherElements with choices made by the caller; cudaErrorNotSupported where a path that is
// asked for cannot serve the shapes. `choice`, if given, says what was launched.
cudaError_t launchGatherElementsTuned(GatherElementsArgs const& args, GatherTuning const& tuning,
    GatherChoice* choice, cudaStream_t stream) noexcept;

} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_TUNING_H
