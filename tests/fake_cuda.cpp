// Lets a CPU build of torch make and follow CUDA tensors that have no content: the guard of the device
// that autograd asks for, and hooks that say there are a GPU and cuDNN. Loaded by LD_PRELOAD.
#include <c10/core/impl/FakeGuardImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
using c10::DeviceType;
C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::FakeGuardImpl<DeviceType::CUDA>)
namespace at {
struct FakeCUDAHooks : public CUDAHooksInterface {
  explicit FakeCUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  bool hasCuDNN() const override { return true; }
  bool compiledWithCuDNN() const override { return true; }
  long versionCuDNN() const override { return 91300; }
  long versionRuntimeCuDNN() const override { return 91300; }
  long versionCUDART() const override { return 13000; }
  bool hasCUDART() const override { return true; }
  bool supportsDilatedConvolutionWithCuDNN() const override { return true; }
  bool supportsDepthwiseConvolutionWithCuDNN() const override { return true; }
  bool supportsBFloat16ConvolutionWithCuDNNv8() const override { return true; }
  long versionCuDNNFrontend() const override { return 11500; }
  double batchnormMinEpsilonCuDNN() const override { return 0.0; }
};
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, FakeCUDAHooks)
}
