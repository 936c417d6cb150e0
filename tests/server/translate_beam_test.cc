// Beam searches on the wire.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/translate_file.h"
#include "client/client.h"
#include "tests/server/server_fixture.h"

namespace leapstream {
namespace {

class TranslateBeamTest : public ServerTest {
 protected:
  grpc::Status Translate(const v1::TranslateRequest& request, v1::TranslateResponse* response) {
    grpc::ClientContext context;
    SetDeadline(&context);
    return stub_->Translate(&context, request, response);
  }
};

TEST_F(TranslateBeamTest, TranslateGivesWhatAnOfflineStreamWithABeamGives) {
  Request config = Config();
  config.mutable_config()->mutable_policy()->mutable_offline();
  config.mutable_config()->mutable_policy()->mutable_beam_search()->set_beam(4);
  const Result stream = Run({config, Text(kText), EndSegment(), EndSegment(), Text("and on")});
  ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
  ASSERT_EQ(stream.segments.size(), 3u);
  const v1::BeamSearch& applied =
      stream.responses.front().started().effective_config().policy().beam_search();
  EXPECT_EQ(applied.beam(), 4);
  EXPECT_EQ(applied.length_penalty(), 1);
  EXPECT_EQ(applied.max_length_b(), 200);

  v1::TranslateRequest request;
  request.set_text(absl::StrCat(kText, "\n\nand on"));
  request.mutable_beam_search()->set_beam(4);
  request.mutable_beam_search()->set_n_best(3);
  v1::TranslateResponse response;
  const grpc::Status status = Translate(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.text(), absl::StrCat(stream.segments[0], "\n\n", stream.segments[2]));
  ASSERT_EQ(response.segments_size(), 3);
  EXPECT_EQ(response.segments(1).hypotheses_size(), 0);  // The empty line.
  ASSERT_EQ(response.segments(0).hypotheses_size(), 3);
  EXPECT_EQ(response.segments(0).hypotheses(0).text(), stream.segments[0]);
  EXPECT_GE(response.segments(0).hypotheses(0).score(), response.segments(0).hypotheses(1).score());
  request.clear_beam_search();
  ASSERT_TRUE(Translate(request, &response).ok());
  EXPECT_EQ(response.segments_size(), 0);
}

TEST_F(TranslateBeamTest, WrongOptionsAreRefusedByName) {
  v1::TranslateRequest request;
  request.set_text("hello");
  request.mutable_beam_search()->set_beam(65);
  v1::TranslateResponse response;
  grpc::Status status = Translate(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("beam in [1, 64], got 65"));
  request.mutable_beam_search()->set_beam(2);
  request.mutable_beam_search()->set_no_repeat_ngram(1);
  status = Translate(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("no_repeat_ngram needs to be 0 or in [2, 64]"));
  Request config = Config();
  config.mutable_config()->mutable_policy()->mutable_beam_search()->set_n_best(2);
  ExpectError({config}, grpc::StatusCode::INVALID_ARGUMENT, "INVALID_POLICY", "n_best 2");
}

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_F(TranslateBeamTest, AFileIsTranslatedInOrderAndGoesOnWhereItEnded) {
  auto client = *client::Client::Connect({absl::StrCat("127.0.0.1:", server_->port())});
  client::TranslateFileOptions options;
  options.input = testing::TempDir() + "/beam-in.txt";
  options.output = testing::TempDir() + "/beam-out.txt";
  std::remove(options.output.c_str());
  {
    std::ofstream input(options.input);
    for (int i = 0; i < 60; ++i) input << "the rain " << std::string(1 + i % 9, 'e') << "\n";
    input << "\nand the last one without its end";
  }
  options.text.beam = client::BeamSearch();
  options.text.beam->n_best = 2;
  ASSERT_TRUE(client::TranslateFile(*client, options).ok());
  const std::string whole = FileText(options.output);
  EXPECT_EQ(std::count(whole.begin(), whole.end(), '\n'), 62);
  // Cut within a line, between two lines, and with nothing left to do.
  for (const size_t length : {whole.find('\n') + 4, whole.find('\n') + 1, whole.size()}) {
    std::ofstream(options.output) << whole.substr(0, length);
    ASSERT_TRUE(client::TranslateFile(*client, options).ok());
    EXPECT_EQ(FileText(options.output), whole);
  }
  std::ofstream(options.output, std::ios::app) << "more\n";
  EXPECT_EQ(client::TranslateFile(*client, options).code(), absl::StatusCode::kInvalidArgument);

  options.hypotheses = true;
  const absl::Status other = client::TranslateFile(*client, options);
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument) << other;
  std::remove(options.output.c_str());
  ASSERT_TRUE(client::TranslateFile(*client, options).ok());
  const std::string best = FileText(options.output);
  EXPECT_EQ(best.substr(0, 2), "1\t");
  EXPECT_THAT(best, HasSubstr("\n61\tnan\t\n"));  // The empty line.
  std::ofstream(options.output) << best.substr(0, best.find("\n7\t") + 30);
  ASSERT_TRUE(client::TranslateFile(*client, options).ok());
  EXPECT_EQ(FileText(options.output), best);
}

}  // namespace
}  // namespace leapstream
