// The paths of the kernel, one file each, as the choice among them sees them.
#ifndef ONNX_FIX_GATHER_ELEMENTS_PATHS_H
#define ONNX_FIX_GATHER_ELEMENTS_PATHS_H

#include "gather_elements.h"
#include "gather_elements_plans.h"

namespace onnx_fix
{
namespace detail
{

struct Call
{
    GatherElementsArgs const& args;
    Plan const& plan;
    cudaStream_t stream;
};

// `vectors`: indices and output are aligned to vectors of outputs, and vectors do not straddle `inner`.
cudaError_t startFlat(Call const& call, bool wide, bool vectors);
cudaError_t startStaged(
    Call const& call, StagedLayout const& layout, int64_t blocks, size_t shared, bool vectors, Device const& device);
// The kernel for indices that are alike along the inner dims; the next is for all others.
cudaError_t startLines(Call const& call, TiledLayout const& layout, bool vectors, Device const& device);
// `vectors`: of the tile.
cudaError_t startTiled(
    Call const& call, TiledLayout const& layout, int64_t blocks, size_t shared, bool vectors, Device const& device);

} // namespace detail
} // namespace onnx_fix

#endif // ONNX_FIX_GATHER_ELEMENTS_PATHS_H
