// leapstream-calibrate: finds the numbers of policies that depend on the model, and writes them to
// its model.json. `leapstream calibrate` runs it.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/standard_descriptors.h"
#include "base/status.h"
#include "model/api/model_directory.h"
#include "streaming/calibration/calibration.h"
#include "streaming/calibration/tries.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "streaming/policy.h"

namespace leapstream {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr size_t kShownHeads = 8;
constexpr double kNoBetterThanLag = 0.52;  // Of HeadScore::area_within_lag.

class CalibrateCommand {
 public:
  CalibrateCommand() {
    app_.set_version_flag("--version", "leapstream-calibrate " LEAPSTREAM_VERSION);
    app_.add_option("--model", directory_, "The model directory")
        ->required()
        ->check(CLI::ExistingDirectory);
    app_.add_option("--source", source_,
                    "A few hundred sentences of the source language, one a line")
        ->required()
        ->check(CLI::ExistingFile);
    app_.add_option("--policy", policy_,
                    "The policy to calibrate; default: each that the model takes")
        ->check(CLI::IsMember({"alignatt", "adaptive"}));
    app_.add_option("--sentences", options_.sentences, "The most sentences to use")
        ->check(CLI::Range(1, 100000))
        ->capture_default_str();
    app_.add_option("--source-lang", options_.languages.source,
                    "The model's own code of the language, if it translates from many");
    app_.add_option("--target-lang", options_.languages.target,
                    "The model's own code of the language, if it translates to many");
    app_.add_flag("--dry-run", dry_run_, "Print what is found, and write nothing");
  }

  int Run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? 0 : kWrongUsage;
    }
    const absl::Status status = Calibrate();
    if (status.ok()) return 0;
    std::fprintf(stderr, "leapstream-calibrate: %s\n", std::string(status.message()).c_str());
    return kFailed;
  }

 private:
  absl::Status Calibrate() {
    LEAPSTREAM_ASSIGN_OR_RETURN(ModelConfig config, ReadModelDirectory(directory_));
    std::shared_ptr<const Model> model;
    LEAPSTREAM_ASSIGN_OR_RETURN(model, LoadModel(directory_));
    if (model->info.learned_policy) {
      return absl::InvalidArgumentError(absl::StrCat(
          "model ", model->info.name,
          " decides itself when to read, so that it takes neither alignatt nor adaptive"));
    }
    if (model->info.generates) {
      return absl::InvalidArgumentError(
          absl::StrCat("model ", model->info.name,
                       " is a decoder alone, which takes the policy offline only; calibrate a "
                       "model with an encoder"));
    }
    std::vector<std::string> sentences;
    std::ifstream file(source_);
    for (std::string line; std::getline(file, line);) sentences.push_back(line);
    options_.attention = policy_ != "adaptive";
    const bool shows = isatty(STDERR_FILENO) == 1;
    if (shows) {
      options_.on_sentence = [](int done) { std::fprintf(stderr, "\r%d sentences", done); };
    }
    Tries tries;
    LEAPSTREAM_ASSIGN_OR_RETURN(tries, CollectTries(*model, config, sentences, options_));
    if (shows) std::fprintf(stderr, "\r\x1B[K");
    std::printf("%d sentences, %d target tokens, %zu tries with a part of the source\n",
                tries.sentences, tries.target_tokens, tries.tries.size());
    if (policy_ != "adaptive") CalibrateAlignAtt(*model, tries, &config);
    if (policy_ != "alignatt") CalibrateAdaptive(tries, &config);
    if (policy_ == "alignatt" && !model->info.shows_attention) {
      return absl::FailedPreconditionError(absl::StrCat(
          "model ", model->info.name,
          " keeps sums of its cross-attention, not where it looks, so it cannot be served with "
          "alignatt; nothing was written"));
    }
    if (dry_run_) return absl::OkStatus();
    LEAPSTREAM_RETURN_IF_ERROR(ReplaceModelJson(directory_, config));
    std::printf("\n%s/model.json written\n", directory_.c_str());
    return absl::OkStatus();
  }

  static void CalibrateAlignAtt(const Model& model, const Tries& tries, ModelConfig* config) {
    const std::vector<HeadScore> heads = ScoreHeads(tries);
    std::printf("\nalignatt: how well the place where a head looks tells whether more source would "
                "change the token\n"
                "(0.5: not at all, 1: always; \"beyond lag\": among tries of one lag)\n\n"
                "| layer | head | area | beyond lag |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < std::min(kShownHeads, heads.size()); ++i) {
      std::printf("| %d | %s | %.3f | %.3f |\n", heads[i].layer, NameOf(tries, heads[i]).c_str(),
                  heads[i].area, heads[i].area_within_lag);
    }
    const HeadScore lag = ScoreLag(tries);
    std::printf("| | (the lag alone) | %.3f | 0.500 |\n", lag.area);
    if (heads.empty()) {
      std::printf("\nno head's attention is known\n");
      return;
    }
    const HeadScore& best = heads.front();
    const std::vector<FrameScore> frames = ScoreFrames(tries, best);
    std::printf("\nlayer %d, head %s:\n\n| frames | written | right |\n| --- | --- | --- |\n",
                best.layer, NameOf(tries, best).c_str());
    for (const FrameScore& score : frames) {
      std::printf("| %d | %.3f | %.3f |\n", score.frames, score.written, score.right);
    }
    if (best.area_within_lag < kNoBetterThanLag || best.area < lag.area) {
      std::printf("\nno head tells more than the lag alone: wait-k is the better policy\n");
    }
    if (!model.info.shows_attention) return;
    config->alignment_layer = best.layer;
    config->alignment_heads.clear();
    if (best.head < tries.heads) config->alignment_heads = {best.head};
    config->alignment_frames = ChooseFrames(frames);
    std::printf("\nalignment_layer %d, alignment_heads %s, alignment_frames %d\n", best.layer,
                NameOf(tries, best).c_str(), config->alignment_frames);
  }

  static void CalibrateAdaptive(const Tries& tries, ModelConfig* config) {
    const AdaptiveWaitK lags;
    const std::vector<LagScore> scores = ScoreLags(tries, lags.max_k);
    std::printf("\nadaptive: the share of tokens that more source would not change, and the "
                "probability that as many reach\n\n"
                "| lag | tries | right | probability |\n| --- | --- | --- | --- |\n");
    for (const LagScore& score : scores) {
      std::printf("| %d | %d | %.3f | %.3f |\n", score.lag, score.tries, score.right,
                  score.threshold);
    }
    if (scores.empty()) return;
    config->adaptive_thresholds = ChooseThresholds(scores, lags.min_k, lags.max_k);
    std::printf("\nadaptive_thresholds %.3f at a lag of %d, %.3f at %d\n",
                static_cast<double>(config->adaptive_thresholds.front()), lags.min_k,
                static_cast<double>(config->adaptive_thresholds.back()), lags.max_k);
  }

  static std::string NameOf(const Tries& tries, const HeadScore& score) {
    return score.head < tries.heads ? absl::StrCat(score.head) : "all";
  }

  CLI::App app_{"Finds the layer, the heads and the frames of AlignAtt and the thresholds of "
                "adaptive wait-k for a model, from sentences of its source language alone, and "
                "writes them to its model.json.",
                "leapstream-calibrate"};
  std::string directory_, source_, policy_;
  TryOptions options_;
  bool dry_run_ = false;
};

int Main(int argc, char** argv) {
  if (!OpenStandardDescriptors()) return kFailed;
  int status = kFailed;
  try {
    status = CalibrateCommand().Run(argc, argv);
  } catch (const std::exception& error) {  // Only a lack of memory is known to throw.
    std::fprintf(stderr, "leapstream-calibrate: %s\n", error.what());
  }
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "leapstream-calibrate: cannot write the output\n");
  return kFailed;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) { return leapstream::Main(argc, argv); }
