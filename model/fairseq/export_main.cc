// leapstream-export: makes a model directory of a fairseq checkpoint or of a Hugging Face folder, or
// shows what is in one.

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
#include "model/huggingface/export_folder.h"

namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Checkpoints are memory-mapped, since they may be larger than the memory. If a file is cut short
// meanwhile, its pages are gone, and reading them raises a signal instead of an error.
void OnLostPages(int /*signal*/) {
  constexpr char kMessage[] =
      "leapstream-export: a file of the model was cut short, or could not be read, while it was exported; "
      "the output is as it was: export again when it is complete\n";
  if (write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1) < 0) _exit(kFailed);
  _exit(kFailed);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "leapstream-export: %s\n", std::string(status.message()).c_str());
  return kFailed;
}

// Refuses options that say what a Hugging Face folder says itself.
void CheckFolderFlags(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    bool known = name == "--help";
    for (const char* flag : {"--hugging-face", "--inspect", "--output", "--source-lang",
                             "--target-lang", "--name", "--dtype", "--nonbreaking-prefixes"}) {
      known |= name == flag;
    }
    if (!known && option->count() > 0) {
      throw CLI::ValidationError(name, "a Hugging Face folder says this itself; leave it out");
    }
  }
}

int Run(int argc, char** argv) {
  signal(SIGBUS, &OnLostPages);
  CLI::App app(
      "Makes a leapstream model directory of a fairseq checkpoint or of a Hugging Face folder. Runs "
      "nothing in it.",
      "leapstream-export");
  leapstream::ExportOptions options;
  std::string dtype = "float32";
  bool inspect = false;
  std::string folder;
  app.add_option("--checkpoint", options.checkpoints, "checkpoint_*.pt; several with --average or --ensemble");
  app.add_option("--hugging-face", folder,
                 "A folder of the hub: M2M-100, NLLB-200, mBART, OPUS-MT or FSMT. Takes --output, "
                 "--source-lang, --target-lang, --name, --dtype and --nonbreaking-prefixes")
      ->excludes("--checkpoint");
  app.add_flag("--average", options.average, "Export the mean of several checkpoints of one model");
  app.add_flag("--ensemble", options.ensemble,
               "Export several checkpoints as one model, whose networks decide together")
      ->excludes("--average");
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
  leapstream::TokenizerOptions& tokenizer = options.tokenizer;
  const auto add = [&app](const char* flag, auto& value, const char* help) {
    app.add_option(flag, value, help)->group("Tokenizers");
  };
  add("--bpe", tokenizer.bpe,
      "fairseq's --bpe: sentencepiece, subword_nmt, fastbpe, characters, bytes or none; default: "
      "as the given files are, or as the checkpoint says");
  add("--bpe-codes", tokenizer.bpe_codes, "Codes of subword-nmt or fastBPE, for the source");
  add("--bpe-vocabulary", tokenizer.bpe_vocabulary,
      "Vocabulary of the source, for --bpe-vocabulary-threshold");
  add("--bpe-vocabulary-threshold", tokenizer.bpe_vocabulary_threshold,
      "subword-nmt's --vocabulary-threshold, if the training data was encoded with it");
  add("--tokenizer", tokenizer.tokenizer,
      "fairseq's --tokenizer: none, space or moses; default: as the checkpoint says, or none");
  add("--nonbreaking-prefixes", tokenizer.prefixes, "Moses' nonbreaking_prefix.SRC");
  add("--moses-source-lang", tokenizer.moses_source_language, "Default: the source language");
  add("--moses-target-lang", tokenizer.moses_target_language, "Default: the target language");
  const auto add_flag = [&app](const char* flag, bool& value, const char* help) {
    app.add_flag(flag, value, help)->group("Tokenizers");
  };
  add_flag("--moses-no-dash-splits", tokenizer.moses_no_dash_splits,
           "Moses ran without -a: hyphens stay within words");
  add_flag("--moses-no-escape", tokenizer.moses_no_escape, "Moses ran with -no-escape");
  add_flag("--lowercase", tokenizer.lowercase,
           "The source was lower-cased after the tokenizer, as in IWSLT recipes");
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
    if (folder.empty() == options.checkpoints.empty()) {
      throw CLI::RequiredError("--checkpoint or --hugging-face");
    }
    if (!folder.empty()) CheckFolderFlags(app);
    if (options.checkpoints.size() > 1 && !options.average &&
        !options.ensemble && !inspect) {
      throw CLI::ValidationError("--checkpoint",
                                 "several checkpoints need --average or --ensemble");
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

  options.weight_type =
      dtype == "float16" ? leapstream::TensorType::kFloat16 : leapstream::TensorType::kFloat32;
  const leapstream::FolderExportOptions folder_options = {
      folder,       options.output,      options.source_language,   options.target_language,
      options.name, options.weight_type, options.tokenizer.prefixes};
  if (inspect && !folder.empty()) {
    const auto text = leapstream::InspectFolder(folder_options);
    if (!text.ok()) return Fail(text.status());
    std::fputs(text->c_str(), stdout);
    return 0;
  }
  if (inspect) {
    for (const std::string& checkpoint : options.checkpoints) {
      const auto text = leapstream::InspectCheckpoint(checkpoint, options);
      if (!text.ok()) return Fail(text.status());
      std::fputs(text->c_str(), stdout);
    }
    return 0;
  }
  std::vector<std::string> notes;
  const absl::Status status = folder.empty() ? leapstream::ExportModel(options, &notes)
                                             : leapstream::ExportFolder(folder_options, &notes);
  if (!status.ok()) return Fail(status);
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
