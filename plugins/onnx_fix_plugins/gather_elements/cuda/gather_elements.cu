// The launch: what is refused, and the choice among the paths.
#include "gather_elements.h"

#include "gather_elements_paths.h"
#include "gather_elements_tuning.h"

#include <cuda_runtime.h>

namespace onnx_fix
{
namespace
{

using namespace detail;

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

cudaError_t dispatch(Call const& call, GatherTuning const& tuning, GatherChoice& choice)
{
    int64_t const bytes = call.args.elementBytes;
    int32_t const vector = vectorOf(bytes);
    int64_t const indexBytes = vector * (call.args.index64 ? 8 : 4), outputBytes = vector * bytes;
    bool const vectors = !tuning.scalar
        && aligned(call.args.indices, static_cast<size_t>(indexBytes < 16 ? indexBytes : 16))
        && aligned(call.args.output, static_cast<size_t>(outputBytes < 16 ? outputBytes : 16))
        && (call.plan.form != Form::kMiddle || call.plan.inner % vector == 0);
    choice.wide = tuning.wide || !fitsIn32(call.plan);
    choice.vector = vectors && call.plan.form != Form::kGeneral ? vector : 1;
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
        && planStaged(call.plan, bytes, choice.vector, device, staged, blocks, shared)
        && (!automatic || worthStaging(call.plan, bytes, staged, blocks, device)))
    {
        choice.path = GatherPath::kStaged;
        return startStaged(call, staged, blocks, shared, vectors, device);
    }
    // Without vectors single reads were measured to be the better choice.
    for (int64_t width = choice.vector; (automatic && vectors) || tuning.path == GatherPath::kTiled; width = 1)
    {
        // Columns that are too long for a tile of whole vectors may fit as a narrower one.
        TiledLayout tiled{};
        if (planTiled(call.plan, call.args.data, bytes, width, choice.vector, device, tiled, blocks, shared)
            && (!automatic || worthTiling(call.plan, bytes, tiled, blocks, device)))
        {
            choice.path = GatherPath::kTiled;
            cudaError_t const status = startLines(call, tiled, vectors, device);
            return status != cudaSuccess ? status
                                         : startTiled(call, tiled, blocks, shared, vectors && width > 1, device);
        }
        if (width == 1)
        {
            break;
        }
    }
    if (!automatic && tuning.path != GatherPath::kFlat)
    {
        return cudaErrorNotSupported;
    }
    choice.path = GatherPath::kFlat;
    return startFlat(call, choice.wide, vectors);
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
    cudaError_t const status = dispatch(call, tuning, made);
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
