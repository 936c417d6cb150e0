// Tells TSan of the order of events that gRPC promises. TSan cannot see it: a distribution's gRPC
// is not instrumented, and hands work from thread to thread by its own atomics. Without this each
// reaction would seem to race with the code that asked for it.
//
// In programs built for TSan only, it stands before libgrpc and libgrpc++ in the order of symbols.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpcpp/alarm.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/server_callback.h>
#include <sanitizer/tsan_interface.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

// The function of this name in libgrpc.
#define LEAPSTREAM_REAL(name)                                                            \
  ([] {                                                                                  \
    static const auto real = reinterpret_cast<decltype(&name)>(dlsym(RTLD_NEXT, #name)); \
    return real;                                                                         \
  }())

static char started_servers;  // Stands for the order of all servers' starts.
static char ended_calls;      // Stands for the order of all calls' ends.

// Everything before an operation comes before its completion. A tag names the two.
extern "C" {

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t nops, void* tag,
                                      void* reserved) {
  if (tag != nullptr) __tsan_release(tag);
  return LEAPSTREAM_REAL(grpc_call_start_batch)(call, ops, nops, tag, reserved);
}

grpc_call_error grpc_server_request_registered_call(grpc_server* server, void* registered_method,
                                                    grpc_call** call, gpr_timespec* deadline,
                                                    grpc_metadata_array* request_metadata,
                                                    grpc_byte_buffer** optional_payload,
                                                    grpc_completion_queue* cq_bound_to_call,
                                                    grpc_completion_queue* cq_for_notification,
                                                    void* tag) {
  __tsan_release(tag);
  return LEAPSTREAM_REAL(grpc_server_request_registered_call)(
      server, registered_method, call, deadline, request_metadata, optional_payload,
      cq_bound_to_call, cq_for_notification, tag);
}

// Everything before a server's start comes before every call that it serves: handlers take a
// reference to their call first of all.
void grpc_server_start(grpc_server* server) {
  __tsan_release(&started_servers);
  LEAPSTREAM_REAL(grpc_server_start)(server);
}

void grpc_call_ref(grpc_call* call) {
  __tsan_acquire(&started_servers);
  LEAPSTREAM_REAL(grpc_call_ref)(call);
}

// Everything in a handler comes before the end of its call, and all ends come before a server is
// destroyed.
void grpc_call_unref(grpc_call* call) {
  __tsan_release(&ended_calls);
  LEAPSTREAM_REAL(grpc_call_unref)(call);
}

void grpc_server_destroy(grpc_server* server) {
  LEAPSTREAM_REAL(grpc_server_destroy)(server);
  __tsan_acquire(&ended_calls);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* cq, gpr_timespec deadline,
                                      void* reserved) {
  const grpc_event event = LEAPSTREAM_REAL(grpc_completion_queue_next)(cq, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* cq, void* tag, gpr_timespec deadline,
                                       void* reserved) {
  const grpc_event event =
      LEAPSTREAM_REAL(grpc_completion_queue_pluck)(cq, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

}  // extern "C"

// Everything before an alarm is set comes before its callback is called, and the callback comes
// before the alarm is destroyed.
namespace {

class AlarmCallback {
 public:
  explicit AlarmCallback(std::function<void(bool)> call) : call_(std::move(call)) {
    __tsan_release(&made_);
  }
  AlarmCallback(const AlarmCallback& other) : call_(other.call_) { __tsan_release(&made_); }
  ~AlarmCallback() { __tsan_acquire(&made_); }
  void operator()(bool ok) const {
    __tsan_acquire(&made_);
    call_(ok);
    __tsan_release(&made_);  // Another thread may destroy it.
  }

 private:
  mutable char made_ = 0;  // Stands for the order of all accesses to it.
  const std::function<void(bool)> call_;
};

}  // namespace

namespace grpc {

void Alarm::SetInternal(gpr_timespec deadline, std::function<void(bool)> call) {
  using Set = void (*)(Alarm*, gpr_timespec, std::function<void(bool)>);
  static const auto real = reinterpret_cast<Set>(
      dlsym(RTLD_NEXT, "_ZN4grpc5Alarm11SetInternalE12gpr_timespecSt8functionIFvbEE"));
  real(this, deadline, AlarmCallback(std::move(call)));
}

}  // namespace grpc

// OnCancel() and OnDone() come after everything that their counters waited for, on another thread:
// here a new one instead of one of gRPC's executor.
namespace grpc::internal {

void ServerCallbackCall::ScheduleOnDone(bool inline_ondone) {
  callbacks_outstanding_.load(std::memory_order_acquire);  // Some of its users are in libgrpc++.
  if (inline_ondone) return CallOnDone();
  std::thread([this] { CallOnDone(); }).detach();
}

void ServerCallbackCall::CallOnCancel(ServerReactor* reactor) {
  on_cancel_conditions_remaining_.load(std::memory_order_acquire);
  if (reactor->InternalInlineable()) return reactor->OnCancel();
  Ref();
  std::thread([this, reactor] {
    reactor->OnCancel();
    MaybeDone();
  }).detach();
}

void ClientReactor::InternalScheduleOnDone(grpc::Status status) {
  std::thread([this, status = std::move(status)] { OnDone(status); }).detach();
}

}  // namespace grpc::internal
