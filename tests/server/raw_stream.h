#ifndef LEAPSTREAM_TESTS_SERVER_RAW_STREAM_H_
#define LEAPSTREAM_TESTS_SERVER_RAW_STREAM_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/support/sync_stream.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"

// Calls as a stranger to the client library makes them: any message, in any order.
namespace leapstream {

using Request = v1::StreamTranslateRequest;
using Response = v1::StreamTranslateResponse;
using RawStream = grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

constexpr char kStreamMethod[] = "/leapstream.v1.SimultaneousTranslationService/StreamTranslate";

inline Request Config(int k = 0) {
  Request request;
  request.mutable_config();
  if (k > 0) request.mutable_config()->mutable_policy()->mutable_wait_k()->set_k(k);
  return request;
}
inline Request Text(const std::string& text, int64_t sequence = 0) {
  Request request;
  request.mutable_source()->set_text(text);
  request.mutable_source()->set_sequence(sequence);
  return request;
}
inline Request EndSegment() {
  Request request;
  request.mutable_end_segment();
  return request;
}
inline Request KeepAlive() {
  Request request;
  request.mutable_keep_alive();
  return request;
}

inline std::string Reason(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details_size() < 1 ||
      !details.details(0).UnpackTo(&info) || info.domain() != "leapstream" ||
      details.code() != status.error_code() || details.message() != status.error_message()) {
    return "no details";
  }
  return info.reason();
}

// Reads the detail after the ErrorInfo; false: there is none, or it has another type.
template <typename Detail>
bool SecondDetail(const grpc::Status& status, Detail* detail) {
  google::rpc::Status details;
  return details.ParseFromString(status.error_details()) && details.details_size() == 2 &&
         details.details(1).UnpackTo(detail);
}

// The delay in the RetryInfo; 0: there is none.
inline absl::Duration RetryDelay(const grpc::Status& status) {
  google::rpc::RetryInfo info;
  if (!SecondDetail(status, &info)) return absl::ZeroDuration();
  return absl::Seconds(info.retry_delay().seconds()) +
         absl::Nanoseconds(info.retry_delay().nanos());
}

inline grpc::ByteBuffer Bytes(const std::string& bytes) {
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

inline std::string ToString(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Valid() || !buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

inline void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
}

// Opens a stream of bytes with any content. The context has its deadline.
inline std::unique_ptr<RawStream> OpenRaw(grpc::Channel* channel, grpc::ClientContext* context,
                                          const char* method) {
  const grpc::internal::RpcMethod rpc(method, grpc::internal::RpcMethod::BIDI_STREAMING);
  return std::unique_ptr<RawStream>(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel, rpc, context));
}
inline grpc::Status CallRaw(grpc::Channel* channel, grpc::ClientContext* context,
                            const char* method, const std::string& request, std::string* response) {
  const grpc::internal::RpcMethod rpc(method, grpc::internal::RpcMethod::NORMAL_RPC);
  grpc::ByteBuffer reply;
  const grpc::Status status = grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer,
                                                                grpc::ByteBuffer, grpc::ByteBuffer>(
      channel, rpc, context, Bytes(request), &reply);
  *response = ToString(reply);
  return status;
}

// A connection that no other channel has, with a small, fixed window. Otherwise gRPC would hold
// megabytes for a reader that does not read, and these take long to fill and to read.
inline std::shared_ptr<grpc::Channel> ConnectWithSmallWindow(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 8 << 10);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                   grpc::InsecureChannelCredentials(), arguments);
}

// One stream, driven by hand.
class OpenStream {
 public:
  // `prepare` may add to the context.
  OpenStream(v1::SimultaneousTranslationService::Stub& stub, const std::vector<Request>& requests,
             const std::function<void(grpc::ClientContext*)>& prepare = nullptr) {
    SetDeadline(&context);
    if (prepare != nullptr) prepare(&context);
    stream = stub.StreamTranslate(&context);
    for (const Request& request : requests) stream->Write(request);
  }
  // Reads up to the first response that `wanted` accepts; false: the stream is over.
  bool ReadUntil(const std::function<bool(const Response&)>& wanted) {
    while (stream->Read(&last)) {
      if (last.has_target()) {
        text += last.target().text();
        for (const auto& token : last.target().tokens()) ids.push_back(token.id());
        ++deltas;
      }
      if (last.has_resume_point()) point = last.resume_point();
      if (last.has_started()) started = last.started();
      if (last.has_segment_completed()) completed.push_back(last.segment_completed().text());
      if (wanted(last)) return true;
    }
    return false;
  }
  grpc::Status Finish() {
    ReadUntil([](const Response&) { return false; });
    return stream->Finish();
  }

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream;
  Response last;
  std::string text;
  std::vector<int> ids;
  int deltas = 0;
  std::vector<std::string> completed;
  v1::ResumePoint point;
  v1::SessionStarted started;
};

inline bool IsStarted(const Response& response) { return response.has_started(); }
inline bool IsTarget(const Response& response) { return response.has_target(); }

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_SERVER_RAW_STREAM_H_
