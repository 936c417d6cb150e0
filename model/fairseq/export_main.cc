// leapstream-export: makes a model directory of a fairseq checkpoint or of a Hugging Face folder,
// or shows what is in one.

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/standard_descriptors.h"
#include "model/fairseq/export.h"
#include "model/fairseq/inspect.h"
#include "model/huggingface/export_folder.h"

namespace leapstream {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Checkpoints are memory-mapped, since they may be larger than the memory. If a file is cut short
// meanwhile, its pages are gone, and reading them raises a signal instead of an error.
void OnLostPages(int /*signal*/) {
  constexpr char kMessage[] =
      "leapstream-export: a file of the model was cut short, or could not be read, while it was "
      "exported; the output is as it was: export again when it is complete\n";
  if (write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1) < 0) _exit(kFailed);
  _exit(kFailed);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "leapstream-export: %s\n", std::string(status.message()).c_str());
  return kFailed;
}

// An option of fairseq that it, too, takes from its command line.
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
    {"--encoder-langtok", "encoder_langtok", "The source's language token: src or tgt"},
    {"--fixed-pre-decision-ratio", "fixed_pre_decision_ratio",
     "For speech that was trained offline: the encoder states, of 40 ms, of a READ; 25 is one "
     "second"}};
constexpr FairseqFlag kFairseqSwitches[] = {
    {"--decoder-langtok", "decoder_langtok", "The target has a language token"},
    {"--lang-tok-replacing-bos-eos", "lang_tok_replacing_bos_eos",
     "Language tokens stand in the place of </s>"}};

// The command line, and its execution.
class ExportCommand {
 public:
  ExportCommand() {
    app_.set_version_flag("--version", "leapstream-export " LEAPSTREAM_VERSION);
    AddInputs();
    AddFiles();
    AddTokenizers();
    AddModel();
    AddFairseqOptions();
  }

  // Returns the exit status.
  int Run(int argc, char** argv) {
    try {  // CLI11 reports by exception.
      app_.parse(argc, argv);
      Check();
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? 0 : kWrongUsage;
    }
    options_.weight_type = dtype_ == "float16" ? TensorType::kFloat16 : TensorType::kFloat32;
    return inspect_ ? Inspect() : Export();
  }

 private:
  void AddInputs() {
    app_.add_option("--checkpoint", options_.checkpoints,
                    "checkpoint_*.pt; several with --average or --ensemble");
    app_.add_option("--hugging-face", folder_,
                    "A folder of the hub: M2M-100, NLLB-200, mBART, OPUS-MT or FSMT. Takes "
                    "--output, --source-lang, --target-lang, --name, --dtype and "
                    "--nonbreaking-prefixes")
        ->excludes("--checkpoint");
    app_.add_flag("--average", options_.average,
                  "Export the mean of several checkpoints of one model");
    app_.add_flag("--ensemble", options_.ensemble,
                  "Export several checkpoints as one model, whose networks decide together")
        ->excludes("--average");
    app_.add_flag("--inspect", inspect_,
                  "Show what is in each checkpoint, and write nothing; with dictionaries and "
                  "SentencePiece models, also whether those go together");
  }

  void AddFiles() {
    app_.add_option("--source-dict", options_.source_dictionary,
                    "dict.SRC.txt of the training data");
    app_.add_option("--target-dict", options_.target_dictionary,
                    "dict.TGT.txt of the training data");
    app_.add_option("--source-spm", options_.source_sentencepiece,
                    "SentencePiece model of the source");
    app_.add_option("--target-spm", options_.target_sentencepiece,
                    "SentencePiece model of the target");
    // A language model has one dictionary, and so have many other models.
    app_.add_option_function<std::string>(
           "--dict",
           [this](const std::string& path) {
             options_.source_dictionary = options_.target_dictionary = path;
           },
           "dict.txt, if both sides have the same; for language models")
        ->excludes("--source-dict", "--target-dict");
    app_.add_option_function<std::string>(
           "--spm",
           [this](const std::string& path) {
             options_.source_sentencepiece = options_.target_sentencepiece = path;
           },
           "SentencePiece model, if both sides have the same; for language models")
        ->excludes("--source-spm", "--target-spm");
    app_.add_option("--separator", options_.separator,
                    "The symbol between source and target of a language model that translates, "
                    "such as <sep>");
    app_.add_option("--config-yaml", options_.config_yaml,
                    "config_st.yaml of the training data, for speech");
    app_.add_option("--output", options_.output, "Model directory to write");
  }

  void AddTokenizers() {
    TokenizerOptions& tokenizer = options_.tokenizer;
    const auto add = [this](const char* flag, auto& value, const char* help) {
      app_.add_option(flag, value, help)->group("Tokenizers");
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
    const auto add_flag = [this](const char* flag, bool& value, const char* help) {
      app_.add_flag(flag, value, help)->group("Tokenizers");
    };
    add_flag("--moses-no-dash-splits", tokenizer.moses_no_dash_splits,
             "Moses ran without -a: hyphens stay within words");
    add_flag("--moses-no-escape", tokenizer.moses_no_escape, "Moses ran with -no-escape");
    add_flag("--lowercase", tokenizer.lowercase,
             "The source was lower-cased after the tokenizer, as in IWSLT recipes");
  }

  void AddModel() {
    app_.add_option("--source-lang", options_.source_language, "Default: the checkpoint's");
    app_.add_option("--target-lang", options_.target_language, "Default: the checkpoint's");
    app_.add_option("--name", options_.name,
                    "What clients ask for; default: SRC-TGT, or the output's name");
    app_.add_option("--dtype", dtype_, "Type of the weights in the file")
        ->check(CLI::IsMember({"float32", "float16"}))
        ->capture_default_str();
    app_.add_option("--cross-normaliser", options_.cross_normaliser,
                    "How LeaP cross-attention is normalised: as fairseq infers, or as it trains")
        ->check(CLI::IsMember({"linear", "softmax"}))
        ->capture_default_str();
  }

  void AddFairseqOptions() {
    std::map<std::string, std::string>& values = options_.fairseq_options;
    for (const FairseqFlag& each : kFairseqFlags) {
      app_.add_option_function<std::string>(
              each.flag,
              [&values, &each](const std::string& value) { values[each.option] = value; },
              std::string(each.help) + "; default: the checkpoint's")
          ->group("fairseq's options");
    }
    for (const FairseqFlag& each : kFairseqSwitches) {
      app_.add_flag_callback(
              each.flag, [&values, &each] { values[each.option] = "True"; },
              std::string(each.help) + "; default: the checkpoint's")
          ->group("fairseq's options");
    }
    app_.add_option("--ignore-option", options_.ignored_options,
                    "An option of the checkpoint that leapstream does not know, and that is known "
                    "to change nothing at inference; may be repeated");
  }

  // Throws CLI::ParseError: options do not go together, or one is missing. The kind of model
  // decides which of the files it needs: ExportModel() checks that.
  void Check() const {
    if (folder_.empty() == options_.checkpoints.empty()) {
      throw CLI::RequiredError("--checkpoint or --hugging-face");
    }
    if (!folder_.empty()) CheckFolderFlags();
    if (inspect_) return;
    if (options_.checkpoints.size() > 1 && !options_.average && !options_.ensemble) {
      throw CLI::ValidationError("--checkpoint",
                                 "several checkpoints need --average or --ensemble");
    }
    if (options_.output.empty()) throw CLI::RequiredError("--output");
  }

  // Refuses options that say what a Hugging Face folder says itself.
  void CheckFolderFlags() const {
    for (const CLI::Option* option : app_.get_options()) {
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

  FolderExportOptions FolderOptions() const {
    return {folder_,       options_.output,      options_.source_language,
            options_.target_language, options_.name, options_.weight_type,
            options_.tokenizer.prefixes};
  }

  int Inspect() const {
    if (!folder_.empty()) return Show(InspectFolder(FolderOptions()));
    for (const std::string& checkpoint : options_.checkpoints) {
      const int status = Show(InspectCheckpoint(checkpoint, options_));
      if (status != 0) return status;
    }
    return 0;
  }

  static int Show(const absl::StatusOr<std::string>& text) {
    if (!text.ok()) return Fail(text.status());
    std::fputs(text->c_str(), stdout);
    return 0;
  }

  int Export() const {
    std::vector<std::string> notes;
    const absl::Status status = folder_.empty() ? ExportModel(options_, &notes)
                                                : ExportFolder(FolderOptions(), &notes);
    if (!status.ok()) return Fail(status);
    for (const std::string& note : notes) std::fprintf(stderr, "note: %s\n", note.c_str());
    std::printf("%s written\n", options_.output.c_str());
    return 0;
  }

  CLI::App app_{"Makes a leapstream model directory of a fairseq checkpoint or of a Hugging Face "
                "folder. Runs nothing in it.",
                "leapstream-export"};
  ExportOptions options_;
  std::string dtype_ = "float32";
  bool inspect_ = false;
  std::string folder_;
};

int Main(int argc, char** argv) {
  if (!OpenStandardDescriptors()) return kFailed;
  signal(SIGBUS, &OnLostPages);
  int status = kFailed;
  try {
    status = ExportCommand().Run(argc, argv);
  } catch (const std::exception& error) {  // Only a lack of memory is known to throw.
    std::fprintf(stderr, "leapstream-export: %s\n", error.what());
  }
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  const std::string why = errno != 0 ? std::strerror(errno) : "not all of it was taken";
  if (status == 0) Fail(absl::InternalError("cannot write the output: " + why));
  return status == 0 ? kFailed : status;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) { return leapstream::Main(argc, argv); }
