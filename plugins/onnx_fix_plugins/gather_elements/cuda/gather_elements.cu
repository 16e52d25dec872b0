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
    bool const vectors = !tuning.scalar && call.plan.form != Form::kGeneral
        && aligned(call.args.indices, static_cast<size_t>(indexBytes < 16 ? indexBytes : 16))
        && aligned(call.args.output, static_cast<size_t>(outputBytes < 16 ? outputBytes : 16));
    bool const whole = call.plan.inner % vector == 0; // Vectors of outputs do not straddle `inner`.
    choice.wide = tuning.wide || !fitsIn32(call.plan);
    choice.vector = vectors && (call.plan.form != Form::kMiddle || whole) ? vector : 1;
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
        && planStaged(call.plan, bytes, vectors ? vector : 1, device, staged, blocks, shared)
        && (!automatic || worthStaging(call.plan, bytes, whole, staged, blocks, device)))
    {
        choice.path = GatherPath::kStaged;
        choice.vector = vectors ? vector : 1;
        return startStaged(call, staged, blocks, shared, vectors, device);
    }
    PieceLayout pieces{};
    if ((automatic || tuning.path == GatherPath::kPieces)
        && planPieces(call.plan, bytes, device, pieces, blocks, shared)
        && (!automatic || worthPieces(call.plan, bytes, pieces, blocks, device)))
    {
        choice.path = GatherPath::kPieces;
        choice.vector = 1;
        return startPieces(call, pieces, blocks, shared, !tuning.scalar && aligned(call.args.indices, 16), device);
    }
    if (automatic || tuning.path == GatherPath::kTiled)
    {
        TiledLayout tiled{};
        if (vectors && whole
            && planTiled(call.plan, call.args.data, bytes, vector, device, tiled, blocks, shared)
            && (!automatic || worthTiling(call.plan, bytes, tiled, blocks, device)))
        {
            choice.path = GatherPath::kTiled;
            cudaError_t const status = startLines(call, tiled, device);
            return status != cudaSuccess ? status : startTiled(call, tiled, blocks, shared, device);
        }
        ColumnLayout columns{};
        if (planColumns(call.plan, call.args.data, bytes, choice.vector, device, columns, blocks, shared)
            && (!automatic || worthColumns(call.plan, bytes, choice.vector > 1, columns, blocks, device)))
        {
            choice.path = GatherPath::kTiled;
            cudaError_t const status = choice.vector > 1 ? startLines(call, columns, device)
                                                         : startSingles(call, choice.wide, device);
            return status != cudaSuccess ? status : startColumns(call, columns, blocks, shared, device);
        }
    }
    if (!automatic && tuning.path != GatherPath::kFlat)
    {
        return cudaErrorNotSupported;
    }
    choice.path = GatherPath::kFlat;
    return startFlat(call, choice.wide, choice.vector > 1);
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
