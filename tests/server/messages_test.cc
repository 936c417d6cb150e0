// Error messages that quote their cause.

#include "tests/server/operations_fixture.h"

namespace leapstream {
namespace {

TEST_F(OperationsTest, LongAndOddValuesAreQuotedShort) {
  Start();
  std::string evil = "\n\x01";
  evil.append(10000, 'x');
  Request request;
  request.mutable_config()->set_model(evil);
  grpc::ClientContext one;
  grpc::Status status = Finish(Open(&one, {}, request).get());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND) << status.error_message();
  EXPECT_EQ(Reason(status), "MODEL_NOT_FOUND");
  EXPECT_THAT(status.error_message(), HasSubstr("\"\\n\\x01xxx"));
  EXPECT_THAT(status.error_message(), HasSubstr("...\" (10002 bytes)"));
  request.mutable_config()->set_model("fake-en-de");
  request.mutable_config()->set_source_language_code(std::string(30000, 'q'));
  grpc::ClientContext two;
  status = Finish(Open(&two, {}, request).get());
  EXPECT_EQ(Reason(status), "LANGUAGE_MISMATCH") << status.error_message();
}

TEST_F(OperationsTest, SpecialPiecesAreNoSource) {
  Start();
  for (const char* piece : {"</s>", "<pad>"}) {
    Request start = StartRequest();
    start.mutable_config()->set_input_format(v1::INPUT_FORMAT_PIECES);
    grpc::ClientContext context;
    auto stream = Open(&context, {}, start);
    Request request;
    request.mutable_source()->mutable_pieces()->add_pieces(piece);
    stream->Write(request);
    stream->WritesDone();
    for (Response response; stream->Read(&response);) continue;
    const grpc::Status status = stream->Finish();
    EXPECT_EQ(Reason(status), "INVALID_SOURCE") << piece;
    EXPECT_THAT(status.error_message(), HasSubstr(piece));
  }
}

}  // namespace
}  // namespace leapstream
