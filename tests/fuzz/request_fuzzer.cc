// Raw bytes are the messages of a StreamTranslate call to a real server with a fake model. The call
// must end, and the server must translate as before.
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <grpcpp/support/sync_stream.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/server.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/testing/fake_model.h"

using namespace leapstream;

namespace {

constexpr char kMethod[] = "/leapstream.v1.SimultaneousTranslationService/StreamTranslate";
constexpr int kCheckEvery = 64;  // The number of inputs between two checks.

struct Service {
  std::unique_ptr<Server> server;
  std::shared_ptr<grpc::Channel> channel;
};

const Service& TheService() {
  static const auto* const service = [] {
    spdlog::set_level(spdlog::level::off);
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.max_sessions = 2;  // With two, a session that is not freed is found soon.
    options.limits.max_source_tokens = 200;
    options.limits.max_target_tokens = 400;
    auto started = Server::Start(options, {FakeModel()});
    if (!started.ok()) std::abort();
    auto* const made = new Service;
    made->server = *std::move(started);
    made->channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", made->server->port()),
                                        grpc::InsecureChannelCredentials());
    return made;
  }();
  return *service;
}

grpc::Status Call(const std::vector<std::string>& messages, size_t* responses) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
  const grpc::internal::RpcMethod rpc(kMethod, grpc::internal::RpcMethod::BIDI_STREAMING,
                                      TheService().channel);
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          TheService().channel.get(), rpc, &context));
  for (const std::string& message : messages) {
    const grpc::Slice slice(message);
    if (!stream->Write(grpc::ByteBuffer(&slice, 1))) break;
  }
  stream->WritesDone();
  for (grpc::ByteBuffer response; stream->Read(&response);) ++*responses;
  return stream->Finish();
}

void Fail(const grpc::Status& status) {
  std::fprintf(stderr, "%d: %s\n", status.error_code(), status.error_message().c_str());
  std::abort();
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t responses = 0;
  const grpc::Status status = Call(FuzzParts(FuzzBytes(data, size)), &responses);
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ||
      status.error_code() == grpc::StatusCode::INTERNAL ||
      status.error_code() == grpc::StatusCode::UNKNOWN) {
    Fail(status);
  }
  static int calls = 0;
  if (++calls % kCheckEvery == 0) {
    v1::StreamTranslateRequest config, text;
    config.mutable_config();
    text.mutable_source()->set_text("hello there");
    responses = 0;
    const grpc::Status check =
        Call({config.SerializeAsString(), text.SerializeAsString()}, &responses);
    // A slot is free a moment after its client has the status.
    if (!check.ok() && check.error_code() != grpc::StatusCode::UNAVAILABLE) Fail(check);
  }
  return 0;
}
