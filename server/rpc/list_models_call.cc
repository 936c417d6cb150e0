#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/caller.h"
#include "server/rpc/one_message_call.h"
#include "server/rpc/unary_calls.h"
#include "server/status_mapping.h"
#include "server/wire/policy_config.h"
#include "server/wire/to_proto.h"

namespace leapstream {
namespace {

absl::StatusOr<v1::ListModelsResponse> Page(const ServedModels& models,
                                            const v1::ListModelsRequest& request) {
  constexpr int kMaxPage = 100;
  if (request.page_size() < 0) {
    return InvalidRequest("INVALID_PAGE_SIZE",
                          absl::StrCat("page_size must not be negative, got ", request.page_size(),
                                       "; leave it unset for ", kMaxPage));
  }
  const int page_size =
      request.page_size() == 0 ? kMaxPage : std::min(request.page_size(), kMaxPage);
  v1::ListModelsResponse response;
  for (const auto& served : models.All()) {
    const ModelInfo& info = served->info;
    if (!request.page_token().empty() && info.name <= request.page_token()) continue;
    if (response.models_size() == page_size) {
      response.set_next_page_token(response.models(page_size - 1).name());
      break;
    }
    v1::Model& model = *response.add_models();
    model.set_name(info.name);
    if (info.is_multilingual()) {
      model.mutable_source_language_codes()->Assign(info.source_languages.begin(),
                                                    info.source_languages.end());
      model.mutable_target_language_codes()->Assign(info.target_languages.begin(),
                                                    info.target_languages.end());
    } else if (info.translates) {
      model.add_source_language_codes(info.source_language);
      model.add_target_language_codes(info.target_language);
    }
    model.set_license(info.license);
    model.set_origin(info.origin);
    model.set_checksum(info.checksum);
    model.set_default_k(info.default_k);
    model.set_generates(info.generates);
    if (info.generates) {
      model.set_max_text_tokens(info.max_source_tokens);
      model.set_trained_text_tokens(info.trained_text_tokens);
    }
    if (!info.learned_policy && !info.generates) {  // A learned policy takes no k.
      model.set_min_k(info.min_k);
      model.set_max_k(info.max_k);
    }
    model.set_learned_policy(info.learned_policy);
    for (std::string& policy : PolicyNames(info)) model.add_policies(std::move(policy));
    model.set_state_bytes_per_session(info.state_bytes_per_session);
    model.set_state_bytes_per_token(info.state_bytes_per_token);
    model.set_compute_type(info.compute_type);
    model.set_state_type(info.state_type);
    model.set_source_kind(info.speech.has_value() ? v1::SOURCE_KIND_SPEECH : v1::SOURCE_KIND_TEXT);
    if (info.speech.has_value()) {
      *model.mutable_read_duration() =
          ToProto(absl::Seconds(info.speech->SamplesPerRead()) / kSpeechSampleRate);
    }
  }
  return response;
}

class ListModelsCall final : public OneMessageCall {
 public:
  using OneMessageCall::OneMessageCall;

 private:
  void OnRequest(grpc::ByteBuffer* bytes) override {
    v1::ListModelsRequest request;
    const absl::Status status = Parse(bytes, &request);
    if (!status.ok()) return Reply(status);
    const absl::StatusOr<v1::ListModelsResponse> page = Page(*serving_->models, request);
    if (!page.ok()) return Reply(page.status());
    Reply(absl::OkStatus(), &*page);
  }
  void OnReplied(const absl::Status& /*status*/) override {}
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartListModels(
    Serving* serving, grpc::CallbackServerContext* context) {
  const CallMetrics metrics(serving->metrics.get(), Method::kListModels);
  const absl::Status known = IdentifyCaller(*context, serving->tokens.get()).status();
  if (!known.ok()) return Refuse(serving, metrics, known);
  const auto call = std::make_shared<ListModelsCall>(serving, context, metrics);
  call->ReadRequest();
  return call.get();
}

}  // namespace leapstream
