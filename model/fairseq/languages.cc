#include "model/fairseq/languages.h"

#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/quoted.h"
#include "model/fairseq/checkpoint_options.h"
#include "model/fairseq/option_table.h"

namespace leapstream {
namespace {

constexpr char kSource[] = "{source}";
constexpr char kTarget[] = "{target}";
constexpr char kEnd[] = "</s>";

std::string TextOf(const std::map<std::string, std::string>& options, const char* option) {
  const auto found = options.find(option);
  return found == options.end() ? "" : found->second;
}

class LanguageReader {
 public:
  explicit LanguageReader(const std::map<std::string, std::string>& options) : options_(options) {}

  LanguageSetup Run() {
    const std::string task = Text("task");
    if (task == "translation_multi_simple_epoch") ReadMultilingual();
    if (task == "translation_from_pretrained_bart") ReadPretrainedBart();
    if (task == "multilingual_translation") ReadPairs();
    return std::move(setup_);
  }

 private:
  std::string Text(const char* option) const { return TextOf(options_, option); }
  bool IsTrue(const char* option) const { return !IsOff(Text(option)); }
  void Fail(std::string error) { setup_.errors.push_back(std::move(error)); }
  void Append(const std::string& symbol) { setup_.appended.push_back(symbol); }

  // The token of a language. A specification that ends in `dae` or `mined` has tokens of its own.
  std::string Token(const std::string& language, absl::string_view specification) const {
    const char* const ending = absl::EndsWith(specification, "dae")     ? "_dae"
                               : absl::EndsWith(specification, "mined") ? "_mined"
                                                                        : "";
    return mbart_style_ ? absl::StrCat("[", language, ending, "]")
                        : absl::StrCat("__", language, ending, "__");
  }

  // The languages in fairseq's order: as --langs has them, or sorted from the pairs.
  std::vector<std::string> Languages() {
    std::vector<std::string> languages = OptionItems(Text("langs"));
    if (languages.empty() && IsTrue("lang_dict")) {
      Fail(absl::StrCat("option lang_dict is ", Quoted(Text("lang_dict")),
                        ", a file that lists the languages; give it with --lang-dict"));
      return {};
    }
    if (languages.empty()) {
      std::set<std::string> sorted;
      for (const std::string& pair : LanguagePairs(options_)) {
        for (absl::string_view language : absl::StrSplit(pair, '-')) sorted.emplace(language);
      }
      languages.assign(sorted.begin(), sorted.end());
    }
    if (languages.empty()) {
      Fail("options langs and lang_pairs are missing; give the languages in the training's order "
           "with --langs");
    }
    return languages;
  }

  void ReadMultilingual() {
    const std::string style = Text("lang_tok_style");
    if (!style.empty() && style != "multilingual" && style != "mbart") {
      Fail(absl::StrCat("option lang_tok_style is ", Quoted(style), "; known: multilingual, mbart"));
    }
    mbart_style_ = style == "mbart";
    const std::vector<std::string> languages = Languages();
    std::vector<std::string> specifications = OptionItems(Text("langtoks_specs"));
    if (specifications.empty()) specifications = {"main"};
    for (const std::string& specification : specifications) {
      for (const std::string& language : languages) Append(Token(language, specification));
    }
    if (!mbart_style_) setup_.data_tags = {"<MINED_DATA>", "<MMT_BT_DATA>", "<SMT_BT_DATA>"};
    if (mbart_style_ || absl::StrContains(Text("extra_data"), "mono_dae")) Append("<mask>");

    const TokenSpecification main = ReadTokenSpecification(options_);
    const bool of_source = absl::StartsWith(main.encoder, "src");
    if (!main.encoder.empty() && !of_source && !absl::StartsWith(main.encoder, "tgt")) {
      Fail(absl::StrCat("the encoder's language token is ", Quoted(main.encoder),
                        "; known: src, tgt"));
    }
    FrameConfig& frame = setup_.frame;
    const bool replacing = IsTrue("lang_tok_replacing_bos_eos");
    if (!main.encoder.empty()) {
      (replacing ? frame.source_tail : frame.source_lead) = {of_source ? kSource : kTarget};
    }
    if (!main.decoder.empty()) {
      if (replacing) {
        frame.start = kTarget;
      } else {
        frame.forced = {kTarget};
      }
    }
    const std::string target = main.decoder.empty() && !of_source ? main.encoder : main.decoder;
    if (!main.encoder.empty() && !of_source && !main.decoder.empty() &&
        Token("x", main.encoder) != Token("x", main.decoder)) {
      Fail(absl::StrCat("langtoks has ", Quoted(main.encoder), " and ", Quoted(main.decoder),
                        ", two tokens for the target language; served: one"));
    }
    for (const std::string& language : languages) {
      setup_.languages.push_back({language, Token(language, of_source ? main.encoder : "main"),
                                  Token(language, target.empty() ? "main" : target)});
    }
    CheckPair(languages);
  }

  // Checks that the pair that a session has by default is one of the model's.
  void CheckPair(const std::vector<std::string>& languages) {
    for (const char* option : {"source_lang", "target_lang"}) {
      const std::string language = Text(option);
      if (language.empty() || languages.empty() ||
          absl::c_linear_search(languages, language)) {
        continue;
      }
      Fail(absl::StrCat(option, " is ", Quoted(language), ", which is none of the ",
                        languages.size(), " languages of the model, from ",
                        Quoted(languages.front()), " to ", Quoted(languages.back())));
    }
  }

  void ReadPretrainedBart() {
    mbart_style_ = true;
    const std::vector<std::string> languages = OptionItems(Text("langs"));
    if (languages.empty()) {
      Fail("option langs is missing; give the languages in the training's order with --langs");
    }
    for (const std::string& language : languages) Append(Token(language, "main"));
    Append("<mask>");
    setup_.frame.source_tail = {kEnd, kSource};
    setup_.frame.start = kTarget;
    setup_.frame.end = kTarget;
    const std::string source = Text("source_lang"), target = Text("target_lang");
    CheckPair(languages);
    // It was trained for this pair alone.
    if (!source.empty()) setup_.languages.push_back({source, Token(source, "main"), ""});
    if (!target.empty()) setup_.languages.push_back({target, "", Token(target, "main")});
    if (!source.empty() && source == target) {
      Fail(absl::StrCat("source_lang and target_lang are both ", Quoted(source)));
    }
  }

  void ReadPairs() {
    const std::string encoder = IsTrue("encoder_langtok") ? Text("encoder_langtok") : "";
    const bool decoder = IsTrue("decoder_langtok");
    if (!encoder.empty() && encoder != "src" && encoder != "tgt") {
      Fail(absl::StrCat("option encoder_langtok is ", Quoted(encoder), "; known: src, tgt"));
    }
    const std::string source = Text("source_lang"), target = Text("target_lang");
    const std::vector<std::string> pairs = LanguagePairs(options_);
    if (pairs.empty()) {
      Fail("option lang_pairs is missing; give the training's pairs with --lang-pairs");
      return;
    }
    if (!absl::c_linear_search(pairs, absl::StrCat(source, "-", target))) {
      Fail(absl::StrCat("the checkpoint holds a model for each of the pairs ",
                        absl::CHexEscape(absl::StrJoin(pairs, ", ").substr(0, 1000)),
                        "; choose one with --source-lang and --target-lang"));
    }
    if (!encoder.empty() || decoder) {
      std::set<std::string> sorted;
      for (const std::string& pair : pairs) {
        for (absl::string_view language : absl::StrSplit(pair, '-')) sorted.emplace(language);
      }
      for (const std::string& language : sorted) Append(Token(language, "main"));
    }
    if (!encoder.empty()) {
      setup_.frame.source_tail = {Token(encoder == "src" ? source : target, "main")};
    }
    if (decoder) setup_.frame.start = Token(target, "main");
  }

  const std::map<std::string, std::string>& options_;
  bool mbart_style_ = false;
  LanguageSetup setup_;
};

}  // namespace

TokenSpecification ReadTokenSpecification(const std::map<std::string, std::string>& options) {
  const auto text = [](const std::string& item) { return item == "None" ? "" : item; };
  const std::vector<std::string> items = OptionItems(TextOf(options, "langtoks"));
  for (size_t i = 0; i + 2 < items.size(); ++i) {
    if (items[i] != "main:" && items[i] != "main") continue;
    const size_t first = items[i + 1] == ":" ? i + 2 : i + 1;
    if (first + 1 < items.size()) return {text(items[first]), text(items[first + 1])};
  }
  TokenSpecification result;
  const std::string encoder = TextOf(options, "encoder_langtok");
  const std::string decoder = TextOf(options, "decoder_langtok");
  if (!IsOff(encoder)) result.encoder = encoder;
  if (!IsOff(decoder)) result.decoder = decoder == "True" ? "tgt" : decoder;
  return result;
}

LanguageSetup ReadLanguageSetup(const std::map<std::string, std::string>& options) {
  return LanguageReader(options).Run();
}

std::vector<std::string> LanguagePairs(const std::map<std::string, std::string>& options) {
  const auto found = options.find("lang_pairs");
  return found == options.end() ? std::vector<std::string>() : OptionItems(found->second);
}

}  // namespace leapstream
