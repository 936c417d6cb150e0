#ifndef LEAPSTREAM_TESTS_CLIENT_FAKE_SERVICE_H_
#define LEAPSTREAM_TESTS_CLIENT_FAKE_SERVICE_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/ext/health_check_service_server_builder_option.h"
#include "grpcpp/grpcpp.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"

namespace leapstream {

// A server whose "translation" of a word is the word in upper case. Model "missing" is refused,
// "silent" never answers, "broken" fails after its first word, "short" and
// "long" say that they cut segments, for the length of the translation and of the source, and "old"
// knows no other policy than wait-3.
class FakeService final : public v1::SimultaneousTranslationService::Service {
 public:
  using ServerStream =
      grpc::ServerReaderWriter<v1::StreamTranslateResponse, v1::StreamTranslateRequest>;

  explicit FakeService(bool with_health = true) {
    grpc::EnableDefaultHealthCheckService(with_health);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeService() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  grpc::Server& server() { return *server_; }

  v1::SessionConfig config() const {  // The last session's.
    MutexLock lock(&mutex_);
    return config_;
  }
  std::string source() const {  // All text of the last session, "|" between segments.
    MutexLock lock(&mutex_);
    return source_;
  }

  grpc::Status StreamTranslate(grpc::ServerContext*, ServerStream* stream) override {
    v1::StreamTranslateRequest request;
    if (!stream->Read(&request) || !request.has_config()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "the first message must be the config"};
    }
    const v1::SessionConfig config = request.config();
    {
      MutexLock lock(&mutex_);
      config_ = config;
      source_.clear();
    }
    if (config.model() == "missing") {
      google::rpc::ErrorInfo info;
      info.set_reason("MODEL_NOT_FOUND");
      info.set_domain("leapstream");
      google::rpc::Status status;
      status.add_details()->PackFrom(info);
      return {grpc::StatusCode::NOT_FOUND, "no such model", status.SerializeAsString()};
    }
    v1::StreamTranslateResponse response;
    response.mutable_started()->set_session_id("s1");
    response.mutable_started()->set_model("fake");
    v1::SessionConfig& effective = *response.mutable_started()->mutable_effective_config();
    effective = config;
    if (config.model() == "old") effective.mutable_policy()->mutable_wait_k()->set_k(3);
    stream->Write(response);
    if (config.model() == "silent") {
      while (stream->Read(&request)) continue;
      MutexLock lock(&mutex_);
      while (!released_) release_.Wait(&mutex_);
      return grpc::Status::OK;
    }
    Session session;
    if (config.model() == "short") session.reason = v1::FINISH_REASON_MAX_LENGTH;
    if (config.model() == "long") session.reason = v1::FINISH_REASON_SOURCE_LIMIT;
    while (stream->Read(&request)) {
      MutexLock lock(&mutex_);
      if (request.has_source()) {
        source_ += request.source().text();
        session.open = true;
        for (const char c : request.source().text()) {
          session.word += c;
          if (absl::ascii_isspace(c)) WriteWord(session, stream);
        }
        if (config.model() == "broken" && !session.text.empty()) {
          return {grpc::StatusCode::INTERNAL, "it broke"};
        }
      } else if (request.has_end_segment()) {
        source_ += "|";
        EndSegment(session, stream);
      }
    }
    if (session.open) EndSegment(session, stream);
    response.mutable_summary()->set_segments(session.segment - 1);
    response.mutable_summary()->set_target_tokens(session.sequence);
    response.mutable_summary()->mutable_totals()->set_average_lagging(2.5);
    stream->Write(response);
    return grpc::Status::OK;
  }

  // One model per page.
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override {
    auto* model = response->add_models();
    const bool first = request->page_token().empty();
    model->set_name(first ? "tiny-de-en" : "big-de-en");
    model->add_source_language_codes("de");
    model->add_target_language_codes("en");
    if (!first) model->add_target_language_codes("fr");
    model->set_license("CC0-1.0");
    for (const char* policy : {"wait_k", "local_agreement"}) model->add_policies(policy);
    model->set_default_k(3);
    if (first) response->set_next_page_token("2");
    return grpc::Status::OK;
  }

  void ReleaseSilent() {
    MutexLock lock(&mutex_);
    released_ = true;
    release_.NotifyAll();
  }

 private:
  struct Session {
    int64_t segment = 1;
    int64_t sequence = 0;
    std::string word, text;
    bool open = false;
    v1::FinishReason reason = v1::FINISH_REASON_END_OF_SENTENCE;
  };

  static void WriteWord(Session& session, ServerStream* stream) {
    absl::StripAsciiWhitespace(&session.word);
    if (session.word.empty()) return;
    const std::string text =
        absl::StrCat(session.text.empty() ? "" : " ", absl::AsciiStrToUpper(session.word));
    session.text += text;
    session.word.clear();
    v1::StreamTranslateResponse response;
    response.mutable_target()->set_sequence(++session.sequence);
    response.mutable_target()->set_segment(session.segment);
    response.mutable_target()->set_text(text);
    response.mutable_target()->set_source_tokens_read(4);
    stream->Write(response);
  }

  static void EndSegment(Session& session, ServerStream* stream) {
    WriteWord(session, stream);
    v1::StreamTranslateResponse response;
    auto* completed = response.mutable_segment_completed();
    completed->set_segment(session.segment++);
    completed->set_text(session.text);
    completed->set_finish_reason(session.reason);
    completed->mutable_stats()->set_target_tokens(session.text.empty() ? 0 : 1);
    completed->mutable_stats()->set_average_lagging(2.5);
    completed->mutable_stats()->mutable_first_token_duration()->set_nanos(5000000);
    stream->Write(response);
    session.text.clear();
    session.open = false;
  }

  int port_ = 0;
  mutable Mutex mutex_;
  CondVar release_;  // Signalled when released_ is set.
  v1::SessionConfig config_ ABSL_GUARDED_BY(mutex_);
  std::string source_ ABSL_GUARDED_BY(mutex_);
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  // Declared last, since it calls the rest until it is gone.
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_CLIENT_FAKE_SERVICE_H_
