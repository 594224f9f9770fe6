// A second device for torch, which stands where a GPU would: its memory is apart from the CPU's, of a given size, and
// an operation whose tensors lie on two devices is refused. The arithmetic is the CPU's, on copies there; if asked to,
// it rounds sums and products by the sizes of what it is given, as a GPU does, whose libraries choose algorithms by them,
// or products by their place in a batch as well, which none should.
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace {

constexpr auto HERE = c10::DeviceType::PrivateUse1;
constexpr auto KEY = c10::DispatchKey::PrivateUse1;
constexpr size_t HEAD = 64;  // before each block, for its size

std::atomic<size_t> in_use{0};
std::atomic<size_t> most{SIZE_MAX};

void release(void* p) {
  if (p == nullptr) return;
  auto* block = static_cast<char*>(p) - HEAD;
  in_use -= *reinterpret_cast<size_t*>(block);
  c10::free_cpu(block);
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    TORCH_CHECK_WITH(OutOfMemoryError, in_use + bytes <= most, "the second device is out of memory");
    auto* block = static_cast<char*>(c10::alloc_cpu(bytes + HEAD));
    *reinterpret_cast<size_t*>(block) = bytes;
    in_use += bytes;
    return {block + HEAD, block + HEAD, &release, c10::Device(HERE, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

Memory memory;
REGISTER_ALLOCATOR(HERE, &memory);

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return HERE; }
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  c10::Device getDevice() const override { return {HERE, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device d) const override { return c10::Stream(c10::Stream::DEFAULT, d); }
  c10::Stream exchangeStream(c10::Stream s) const override { return s; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};
[[maybe_unused]] const bool known = (at::RegisterPrivateUse1HooksInterface(new Hooks), true);

at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, c10::DispatchKeySet(KEY), c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, c10::DispatchKeySet(KEY),
                                           c10::dtype_or_default(dtype));
}

// The same memory, as a tensor of the CPU's.
at::Tensor as_cpu(const at::Tensor& t) {
  if (t.is_cpu()) return t;
  auto storage = t.storage();
  return at::from_blob(storage.mutable_data(), t.sizes(), t.strides(), t.storage_offset(), [storage](void*) {},
                       t.options().device(at::kCPU));
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& dst, bool) {
  as_cpu(dst).copy_(as_cpu(self));
  return dst;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& dst) {
  if (dst.sizes() != self.sizes()) dst.resize_(self.sizes());
  return copy_from(self, dst, false);
}

at::Scalar local_scalar(const at::Tensor& self) { return as_cpu(self).item(); }

const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef size, std::optional<at::MemoryFormat>) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(C10_AS_INTARRAYREF_SLOW(size));
  const auto bytes = (self.numel() + self.storage_offset()) * self.dtype().itemsize();
  if (auto* storage = self.storage().unsafeGetStorageImpl(); bytes > storage->nbytes()) {
    auto fresh = memory.allocate(bytes);
    std::memcpy(fresh.get(), storage->data(), storage->nbytes());
    storage->set_data_ptr_noswap(std::move(fresh));
    storage->set_nbytes(bytes);
  }
  return self;
}

at::Tensor& set_source(at::Tensor& self, at::Storage source, c10::SymInt offset, c10::SymIntArrayRef size,
                       c10::SymIntArrayRef stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  impl->set_sizes_and_strides(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), offset.expect_int());
  return self;
}

enum Rounding { NOTHING, SIZE, PLACE };
std::atomic<int> rounds_by{NOTHING};
const std::set<std::string> ADDING{
    "_log_softmax",  "_log_softmax_backward_data",
    "_softmax",      "_softmax_backward_data",
    "addmm",         "avg_pool2d",
    "baddbmm",       "avg_pool2d_backward",
    "bmm",           "linalg_vector_norm",
    "cumsum",        "logsumexp",
    "dot",           "native_batch_norm",
    "mean",          "native_batch_norm_backward",
    "mm",            "native_layer_norm",
    "mv",            "native_layer_norm_backward",
    "prod",          "nll_loss2d_forward",
    "std",           "nll_loss_forward",
    "sum",           "var_mean",
    "var",
};

uint64_t mixed(uint64_t hash, c10::IntArrayRef sizes) {
  for (const int64_t n : sizes) hash = (hash ^ uint64_t(n)) * 0x100000001b3;
  return (hash ^ 0xff) * 0x100000001b3;
}

// The result of an operation on tensors of sizes with this hash: up to two units in the last place away. Whole numbers
// are exact on any device.
void round_by(uint64_t hash, const at::Tensor& result) {
  if (!result.defined() || !at::isFloatingType(result.scalar_type())) return;
  const double unit = result.scalar_type() == at::kDouble ? 0x1p-52 : 0x1p-23;
  const at::Tensor t = as_cpu(result);
  if (rounds_by == PLACE && t.dim() > 2)
    for (int64_t i = 0; i < t.size(0); ++i) t[i].mul_(1 + double(i % 3) * unit);
  t.copy_(t.mul(1 + (double(hash % 5) - 2) * unit).where(t.ne(t.round()), t));
}

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       c10::IntArrayRef stride, c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed,
                       c10::IntArrayRef output_padding, int64_t groups) {
  std::optional<at::Tensor> b;
  if (bias && bias->defined()) b = as_cpu(*bias);
  auto out = at::convolution(as_cpu(input), as_cpu(weight), b, stride, padding, dilation, transposed, output_padding,
                             groups);
  if (rounds_by != NOTHING) round_by(mixed(mixed(0, input.sizes()), weight.sizes()), out);
  return out.to(input.device());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& slope, const at::Tensor& input, const at::Tensor& weight, c10::IntArrayRef stride,
    c10::IntArrayRef padding, c10::IntArrayRef dilation, bool transposed, c10::IntArrayRef output_padding,
    int64_t groups, std::array<bool, 3> mask) {
  const std::vector<int64_t> biases{slope.size(1)};
  auto [x, w, b] = at::convolution_backward(as_cpu(slope), as_cpu(input), as_cpu(weight), biases, stride, padding,
                                            dilation, transposed, output_padding, groups, mask);
  auto back = [&](const at::Tensor& t) {
    if (rounds_by != NOTHING) round_by(mixed(mixed(0, input.sizes()), weight.sizes()), t);
    return t.defined() ? t.to(input.device()) : t;
  };
  return {back(x), back(w), back(b)};
}

// As on a GPU: only single numbers, and indices, may lie on the CPU.
void refuse_two_devices(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const auto& name = op.schema().name();
  const bool indexed = name.rfind("aten::index", 0) == 0 || name.rfind("aten::_index", 0) == 0;
  bool here = false, there = false;
  auto look = [&](const at::Tensor& t) {
    if (!t.defined()) return;
    here |= !t.is_cpu();
    there |= t.is_cpu() && t.dim() > 0;
  };
  for (const auto& value : torch::jit::last(stack, op.schema().arguments().size())) {
    if (value.isTensor()) look(value.toTensor());
    if (value.isTensorList())
      for (const at::Tensor& t : value.toTensorVector()) look(t);
    if (value.isOptionalTensorList() && !indexed)
      for (const std::optional<at::Tensor>& t : value.toOptionalTensorVector())
        if (t) look(*t);
  }
  TORCH_CHECK(!(here && there), name, ": expected all tensors to be on the same device, but found two");
}

void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  refuse_two_devices(op, *stack);
  const bool rounds = rounds_by != NOTHING && ADDING.count(op.schema().name().substr(6)) > 0;  // less "aten::"
  uint64_t hash = 0;
  for (const auto& value : torch::jit::last(*stack, op.schema().arguments().size()))
    if (value.isTensor() && value.toTensor().defined()) hash = mixed(hash, value.toTensor().sizes());
  at::native::cpu_fallback(op, stack);
  if (!rounds) return;
  for (const auto& value : torch::jit::last(*stack, op.schema().returns().size()))
    if (value.isTensor()) round_by(hash, value.toTensor());
}

}  // namespace

// How many bytes the device has.
extern "C" void second_device_has(size_t bytes) { most = bytes; }
extern "C" void second_device_rounds_by(int what) { rounds_by = what; }
extern "C" size_t second_device_used() { return in_use; }
extern "C" size_t second_device_free() { return most - in_use; }

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("unfold", TORCH_FN(at::native::unfold));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("resize_", TORCH_FN(resize));
  m.impl("set_.source_Storage_storage_offset", TORCH_FN(set_source));
  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar));
  m.impl("convolution_overrideable", TORCH_FN(convolution));
  m.impl("convolution_backward_overrideable", TORCH_FN(convolution_backward));
}
