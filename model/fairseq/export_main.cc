// leapstream-export: makes a model directory of a fairseq checkpoint, or shows what is in one.

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/standard_descriptors.h"
#include "model/fairseq/export.h"
#include "model/fairseq/inspect.h"

namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Checkpoints are memory-mapped, since they may be larger than the memory. If a file is cut short
// meanwhile, its pages are gone, and reading them raises a signal instead of an error.
void OnLostPages(int /*signal*/) {
  constexpr char kMessage[] =
      "leapstream-export: a checkpoint was cut short, or could not be read, while it was exported; "
      "the output is as it was: export again when the checkpoint is complete\n";
  if (write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1) < 0) _exit(kFailed);
  _exit(kFailed);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "leapstream-export: %s\n", std::string(status.message()).c_str());
  return kFailed;
}

int Run(int argc, char** argv) {
  signal(SIGBUS, &OnLostPages);
  CLI::App app("Makes a leapstream model directory of a fairseq checkpoint. Runs nothing in it.",
               "leapstream-export");
  leapstream::ExportOptions options;
  std::string dtype = "float32";
  bool inspect = false;
  app.add_option("--checkpoint", options.checkpoints, "checkpoint_*.pt; several with --average")
      ->required();
  app.add_flag("--average", options.average, "Export the mean of several checkpoints of one model");
  app.add_flag(
      "--inspect", inspect,
      "Show what is in each checkpoint, and write nothing; with dictionaries and SentencePiece "
      "models, also whether those go together");
  const std::pair<const char*, std::pair<std::string*, const char*>> files[] = {
      {"--source-dict", {&options.source_dictionary, "dict.SRC.txt of the training data"}},
      {"--target-dict", {&options.target_dictionary, "dict.TGT.txt of the training data"}},
      {"--source-spm", {&options.source_sentencepiece, "SentencePiece model of the source"}},
      {"--target-spm", {&options.target_sentencepiece, "SentencePiece model of the target"}},
      {"--config-yaml", {&options.config_yaml, "config_st.yaml of the training data, for speech"}},
      {"--output", {&options.output, "Model directory to write"}}};
  for (const auto& [flag, target] : files) app.add_option(flag, *target.first, target.second);
  app.add_option("--source-lang", options.source_language, "Default: the checkpoint's");
  app.add_option("--target-lang", options.target_language, "Default: the checkpoint's");
  app.add_option("--name", options.name,
                 "What clients ask for; default: SRC-TGT, or the output's name");
  app.add_option("--dtype", dtype, "Type of the weights in the file")
      ->check(CLI::IsMember({"float32", "float16"}))
      ->capture_default_str();
  app.add_option("--cross-normaliser", options.cross_normaliser,
                 "How LeaP cross-attention is normalised: as fairseq infers, or as it trains")
      ->check(CLI::IsMember({"linear", "softmax"}))
      ->capture_default_str();
  // fairseq's options of languages. fairseq, too, takes these from its command line.
  struct FairseqFlag {
    const char* flag;
    const char* option;
    const char* help;
  };
  constexpr FairseqFlag kFairseqFlags[] = {
      {"--arch", "arch", "The architecture that the checkpoint's own is a preset of"},
      {"--task", "task", "fairseq's task, such as translation_multi_simple_epoch"},
      {"--langs", "langs", "The languages in the training's order, with commas between them"},
      {"--lang-dict", "lang_dict", "A file that lists the languages in the training's order"},
      {"--lang-pairs", "lang_pairs", "The training's pairs, such as en-de,de-en"},
      {"--lang-tok-style", "lang_tok_style", "multilingual (__xx__) or mbart ([xx])"},
      {"--encoder-langtok", "encoder_langtok", "The source's language token: src or tgt"}};
  constexpr FairseqFlag kFairseqSwitches[] = {
      {"--decoder-langtok", "decoder_langtok", "The target has a language token"},
      {"--lang-tok-replacing-bos-eos", "lang_tok_replacing_bos_eos",
       "Language tokens stand in the place of </s>"}};
  for (const FairseqFlag& each : kFairseqFlags) {
    app.add_option_function<std::string>(
           each.flag,
           [&options, &each](const std::string& value) {
             options.fairseq_options[each.option] = value;
           },
           std::string(each.help) + "; default: the checkpoint's")
        ->group("fairseq's options");
  }
  for (const FairseqFlag& each : kFairseqSwitches) {
    app.add_flag_callback(
           each.flag,
           [&options, &each] { options.fairseq_options[each.option] = "True"; },
           std::string(each.help) + "; default: the checkpoint's")
        ->group("fairseq's options");
  }
  app.add_option("--ignore-option", options.ignored_options,
                 "An option of the checkpoint that leapstream does not know, and that is known to "
                 "change nothing at inference; may be repeated");
  try {  // CLI11 reports by exception.
    app.parse(argc, argv);
    if (options.checkpoints.size() > 1 && !options.average && !inspect) {
      throw CLI::ValidationError("--checkpoint", "several checkpoints need --average");
    }
    for (const auto& [flag, target] : files) {
      // The kind of model decides which of the other files it needs: ExportModel() checks that.
      if (!inspect && flag == std::string("--output") && target.first->empty()) {
        throw CLI::RequiredError(flag);
      }
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongUsage;
  }

  if (inspect) {
    for (const std::string& checkpoint : options.checkpoints) {
      const auto text = leapstream::InspectCheckpoint(checkpoint, options);
      if (!text.ok()) return Fail(text.status());
      std::fputs(text->c_str(), stdout);
    }
    return 0;
  }
  options.weight_type =
      dtype == "float16" ? leapstream::TensorType::kFloat16 : leapstream::TensorType::kFloat32;
  std::vector<std::string> notes;
  if (const absl::Status status = leapstream::ExportModel(options, &notes); !status.ok()) {
    return Fail(status);
  }
  for (const std::string& note : notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  std::printf("%s written\n", options.output.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (!leapstream::OpenStandardDescriptors()) return kFailed;
  int status = kFailed;
  try {
    status = Run(argc, argv);
  } catch (const std::exception& error) {  // Only a lack of memory is known to throw.
    std::fprintf(stderr, "leapstream-export: %s\n", error.what());
  }
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  const std::string why = errno != 0 ? std::strerror(errno) : "not all of it was taken";
  if (status == 0) Fail(absl::InternalError("cannot write the output: " + why));
  return status == 0 ? kFailed : status;
}
