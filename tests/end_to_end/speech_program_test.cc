// The way from a checkpoint to text on the screen: leapstream-export, a server with the real model,
// and `leapstream translate --audio` as a program of its own.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/engine/load_model.h"
#include "server/server.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

std::string Golden(const std::string& path) {
  return absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/speech/", path);
}
std::string Program(const std::string& name) {
  return absl::StrCat(LEAPSTREAM_BINARY_DIR, "/bin/", name);
}

struct Output {
  std::string text;  // Standard output and error.
  int status = 0;
};
Output Execute(const std::string& command) {
  Output output;
  FILE* pipe = popen(absl::StrCat("{ ", command, "; } 2>&1").c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::array<char, 4096> buffer;
  while (const size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.text.append(buffer.data(), size);
  }
  output.status = WEXITSTATUS(pclose(pipe));
  return output;
}

// A lone U+2581 is a space to SentencePiece and nothing to the reference, which joins words.
std::string OneSpace(std::string text) {
  for (size_t at; (at = text.find("  ")) != text.npos;) text.erase(at, 1);
  return text;
}

class SpeechProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    spdlog::set_level(spdlog::level::off);
    const std::string directory = absl::StrCat(::testing::TempDir(), "/leapstream-speech-program");
    const Output exported = Execute(absl::StrCat(
        Program("leapstream-export"), " --checkpoint ", Golden("checkpoints/speech_leap.pt"),
        " --config-yaml ", Golden("data/config_st.yaml"), " --target-dict ",
        Golden("data/spm_unigram400_st.txt"), " --target-spm ",
        Golden("data/spm_unigram400_st.model"), " --source-lang en --target-lang de --output ",
        directory));
    ASSERT_EQ(exported.status, 0) << exported.text;
    auto model = LoadModel(directory);
    ASSERT_TRUE(model.ok()) << model.status();
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    auto server = Server::Start(options, {*model});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    std::ifstream rows(Golden("traces/speech_leap.k2.jsonl"));
    for (std::string line; std::getline(rows, line);) {
      const auto row = nlohmann::json::parse(line);
      if (row["end"] == "eos") texts_[row["id"]] = row["text_out"];
    }
    ASSERT_GT(texts_.size(), 3u);
  }
  std::string Translate(const std::string& options) const {
    return absl::StrCat(Program("leapstream"), " translate --server 127.0.0.1:", server_->port(),
                        " ", options);
  }

  std::unique_ptr<Server> server_;
  std::map<std::string, std::string> texts_;  // Texts of the reference.
};

TEST_F(SpeechProgramTest, TranslatesFilesAndStandardInputAsTheReference) {
  for (const auto& [id, of_reference] : texts_) {
    if (id == "e-22k") continue;  // The reference takes this file for 16 kHz.
    // The reference writes full stops for a second of silence.
    const std::string text = id == "e-silence" ? "" : of_reference;
    const std::string wav = Golden(absl::StrCat("wav/", id, ".wav"));
    const std::string stop = "--k 2 --early-end stop --pace max --audio ";
    const Output file = Execute(Translate(stop + wav));
    EXPECT_EQ(file.status, 0) << file.text;
    EXPECT_EQ(OneSpace(file.text), text + "\n") << id;
    // The pieces have odd sizes: the program keeps half a sample back.
    const Output raw = Execute(
        absl::StrCat("tail -c +45 ", wav, " | dd bs=777 status=none | ", Translate(stop + "-")));
    EXPECT_EQ(OneSpace(raw.text), text + "\n") << id;
    // The file as `arecord` writes it into a pipe: its sizes are never filled in.
    const Output piped = Execute(absl::StrCat(
        "(head -c 4 ", wav, "; printf '\\377\\377\\377\\377'; head -c 40 ", wav,
        " | tail -c +9; printf '\\0\\0\\0\\0'; tail -c +45 ", wav, ") | tee ",
        ::testing::TempDir(), "/unfinished.wav | ", Translate(stop + "-")));
    EXPECT_EQ(OneSpace(piped.text), text + "\n") << id;
    for (const char* input : {"", "- < "}) {  // As a file name, and as standard input.
      const Output unfinished = Execute(
          absl::StrCat(Translate(stop), input, ::testing::TempDir(), "/unfinished.wav"));
      EXPECT_EQ(OneSpace(unfinished.text), text + "\n") << id << input;
    }
  }
}

TEST_F(SpeechProgramTest, EndsSegmentsAtPausesAndNamesFaults) {
  // A sentence and four seconds of silence give one segment.
  const Output paused =
      Execute(Translate("--k 2 --pace max --json --pause 600ms --pause-threshold -40.5 --audio " +
                        Golden("wav/e-pause.wav")));
  EXPECT_THAT(paused.text, HasSubstr("\"sample_rate_hertz\":16000"));
  EXPECT_THAT(paused.text, HasSubstr("\"min_duration\":\"0.600000s\",\"threshold_db\":-40.5"));
  EXPECT_THAT(paused.text, HasSubstr("\"segments\":1"));
  EXPECT_THAT(paused.text, HasSubstr("\"source_audio_ms\""));
  const size_t begin = paused.text.find("\"stats\":");
  ASSERT_NE(begin, std::string::npos);
  const std::string line = paused.text.substr(paused.text.rfind('\n', begin) + 1);
  const auto stats = nlohmann::json::parse(line.substr(0, line.find('\n')))["stats"];
  const auto al = [](const nlohmann::json& figures) -> double {
    return figures["average_lagging"];
  };
  EXPECT_GT(al(stats["computation_aware"]), al(stats));
  EXPECT_GT(al(stats["words_computation_aware"]), al(stats["words"]));
  EXPECT_THAT(Execute(Translate("--audio " + Golden("README.md"))).text, HasSubstr("README.md"));
  const Output missing = Execute(Translate("--audio /nowhere.wav"));
  EXPECT_EQ(missing.status, 4);
  EXPECT_THAT(missing.text, HasSubstr("/nowhere.wav"));
  const Output empty = Execute("head -c 44 " + Golden("wav/e-pause.wav") + " | " +
                               Translate("--audio -"));
  EXPECT_EQ(empty.status, 4);
  EXPECT_THAT(empty.text, HasSubstr("the input holds no sample"));
  const Output flac = Execute("(printf fLaC; head -c 9999 /dev/zero) | " + Translate("--audio -"));
  EXPECT_EQ(flac.status, 4);
  EXPECT_THAT(flac.text, HasSubstr("got a file of the kind FLAC; name the file"));
  const Output odd = Execute("printf abc | " + Translate("--audio -"));
  EXPECT_EQ(odd.status, 4);
  EXPECT_THAT(odd.text, HasSubstr("within a 16-bit sample"));
}

// However fast the file is translated, the times are those of the audio.
TEST_F(SpeechProgramTest, SubtitlesOfARecordingHaveTheTimesOfItsAudio) {
  const std::string wav = Golden("wav/e-pause.wav");
  const std::string translate = "--k 2 --pace max --pause 600ms --audio " + wav;
  const Output srt = Execute(Translate("--format srt " + translate));
  EXPECT_EQ(srt.status, 0) << srt.text;
  const Output vtt = Execute(Translate("--format vtt " + translate));
  EXPECT_THAT(vtt.text, ::testing::StartsWith("WEBVTT\n\n"));
  const Output json = Execute(Translate("--json " + translate));
  double first = 0;
  std::istringstream lines(json.text);
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    if (first == 0 && event.is_object() && event["event"] == "target" && event["text"] != "") {
      first = event["audio_offset_ms"];
    }
    if (event.is_object() && event["event"] == "segment") {
      EXPECT_GE(event["audio_end_ms"].get<double>(), event["audio_start_ms"].get<double>());
    }
  }
  ASSERT_GT(first, 0);
  EXPECT_THAT(srt.text, ::testing::StartsWith(absl::StrFormat("1\n00:00:%02d,%03d --> ",
                                                              static_cast<int>(first) / 1000,
                                                              static_cast<int>(first) % 1000)))
      << srt.text;
}

}  // namespace
}  // namespace leapstream
