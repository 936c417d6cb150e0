#include "model/api/sentencepiece.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/scripts.h"
#include "base/status.h"
#include "base/utf8.h"
#include "model/api/file_bytes.h"
#include "model/api/tokenizers/normaliser_rules.h"
#include "sentencepiece_model.pb.h"

// SentencePiece puts std::string_view into namespace absl, which has a type of that name already.
#define absl spm_absl
#include "sentencepiece_processor.h"
#undef absl

namespace leapstream {
namespace {


int HexDigit(char digit) {
  return digit <= '9' ? digit - '0' : digit - 'A' + 10;  // SentencePiece writes upper case only.
}

std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

bool ParseModel(absl::string_view serialized, sentencepiece::ModelProto* model) {
  return serialized.size() <= static_cast<size_t>(std::numeric_limits<int>::max()) &&
         model->ParseFromArray(serialized.data(), static_cast<int>(serialized.size()));
}

class Processor final : public SentencePiece {
 public:
  absl::Status Init(absl::string_view serialized) {
    // The library takes whatever parses, such as an empty file or the first half of a model.
    sentencepiece::ModelProto model;
    if (!ParseModel(serialized, &model) || model.pieces_size() == 0 || !model.has_trainer_spec() ||
        !model.has_normalizer_spec()) {
      return absl::InvalidArgumentError("not a complete SentencePiece model");
    }
    if (!NormaliserRules::IsSafe(model.normalizer_spec().precompiled_charsmap())) {
      return absl::InvalidArgumentError("its normalisation rules are damaged");
    }
    if (!model.denormalizer_spec().precompiled_charsmap().empty()) {
      return absl::InvalidArgumentError(
          "it has denormalisation rules, which cannot be applied to text that streams");
    }
    model.clear_self_test_data();
    const sentencepiece::util::Status status =
        processor_.LoadFromSerializedProto(model.SerializeAsString());
    if (!status.ok()) return absl::InvalidArgumentError(status.message());
    unknown_piece_ = processor_.IdToPiece(processor_.unk_id());
    unknown_surface_ = Decode({unknown_piece_});
    strips_all_ = model.normalizer_spec().remove_extra_whitespaces();
    strips_ = strips_all_ || model.normalizer_spec().add_dummy_prefix();
    rules_ = NormaliserRules(model.normalizer_spec().precompiled_charsmap());
    FindUnspacedPieces(model);
    return absl::OkStatus();
  }

  std::vector<std::string> Encode(absl::string_view text) const override {
    return processor_.EncodeAsPieces(ToStd(text));
  }

  std::string Decode(const std::vector<std::string>& pieces) const override {
    return processor_.DecodePieces(pieces);
  }

  PieceKind Kind(absl::string_view piece) const override {
    if (piece.empty()) return PieceKind::kText;
    const int id = processor_.PieceToId(ToStd(piece));
    if (processor_.IsControl(id)) return PieceKind::kControl;
    if (processor_.IsByte(id)) return PieceKind::kByte;
    if (!processor_.IsUnknown(id)) return PieceKind::kText;
    return piece == unknown_piece_ ? PieceKind::kUnknown : PieceKind::kVerbatim;
  }

  std::vector<std::string> Pieces() const override {
    std::vector<std::string> pieces;
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      if (processor_.IsControl(id) || processor_.IsUnknown(id) || processor_.IsUnused(id) ||
          processor_.IsByte(id)) {
        continue;
      }
      pieces.push_back(processor_.IdToPiece(id));
    }
    return pieces;
  }

  std::vector<std::string> AllPieces() const override {
    std::vector<std::string> pieces;
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      pieces.push_back(processor_.IdToPiece(id));
    }
    return pieces;
  }
  std::vector<std::string> FinalPieces(absl::string_view beginning,
                                       int64_t* encoded) const override;

  const std::string& unknown_surface() const override { return unknown_surface_; }
  bool strips_leading_space() const override { return strips_; }
  bool strips_all_leading_space() const override { return strips_all_; }

 private:
  void FindUnspacedPieces(const sentencepiece::ModelProto& model);
  const std::string& PieceOf(int id) const { return processor_.IdToPiece(id); }
  // Whether a longer piece begins with `text`, which has a character of a script without spaces.
  bool PieceGoesOn(absl::string_view text) const;
  // The first part of a word's beginning that the normaliser treats alike however it goes on.
  absl::string_view Settled(absl::string_view beginning) const;
  // The normalised text that pieces are of.
  std::string TextOf(const std::vector<std::string>& pieces) const;

  sentencepiece::SentencePieceProcessor processor_;
  NormaliserRules rules_;
  std::vector<int> unspaced_;  // The pieces with characters of scripts without spaces, by text.
  size_t longest_unspaced_ = 0;            // The bytes of the longest of them.
  std::vector<std::string> user_defined_;  // The pieces that come before the normaliser's rules.
  std::string unknown_piece_;
  std::string unknown_surface_;
  bool strips_ = true;
  bool strips_all_ = true;
};

void Processor::FindUnspacedPieces(const sentencepiece::ModelProto& model) {
  for (int id = 0; id < model.pieces_size(); ++id) {
    absl::string_view text = model.pieces(id).piece();
    if (model.pieces(id).type() == sentencepiece::ModelProto::SentencePiece::USER_DEFINED) {
      user_defined_.emplace_back(text);
    }
    absl::ConsumePrefix(&text, kSpaceSymbol);
    const bool may_be = std::any_of(text.begin(), text.end(), [](char c) {
      return static_cast<unsigned char>(c) >= 0xE0;  // All of these scripts begin at U+0E00.
    });
    if (!may_be || !HasScriptWithoutSpaces(text)) continue;
    unspaced_.push_back(id);
    longest_unspaced_ = std::max(longest_unspaced_, model.pieces(id).piece().size());
  }
  std::sort(unspaced_.begin(), unspaced_.end(),
            [this](int one, int other) { return PieceOf(one) < PieceOf(other); });
}

bool Processor::PieceGoesOn(absl::string_view text) const {
  auto after = std::upper_bound(unspaced_.begin(), unspaced_.end(), text,
                                [this](absl::string_view value, int id) {
                                  return value < absl::string_view(PieceOf(id));
                                });
  return after != unspaced_.end() && absl::StartsWith(PieceOf(*after), text);
}

absl::string_view Processor::Settled(absl::string_view beginning) const {
  for (size_t at = 0; at < beginning.size(); ++at) {
    const absl::string_view rest = beginning.substr(at);
    if ((static_cast<unsigned char>(rest[0]) & 0xC0) == 0x80) continue;  // Within a character.
    const bool goes_on =
        rules_.GoesOn(rest) ||
        std::any_of(user_defined_.begin(), user_defined_.end(), [rest](const std::string& piece) {
          return piece.size() > rest.size() && absl::StartsWith(piece, rest);
        });
    if (goes_on) return beginning.substr(0, at);
  }
  return beginning;
}

std::string Processor::TextOf(const std::vector<std::string>& pieces) const {
  std::string text;
  for (const std::string& piece : pieces) {
    if (Kind(piece) == PieceKind::kByte) {
      text.push_back(static_cast<char>(HexDigit(piece[3]) * 16 + HexDigit(piece[4])));
    } else {
      text += piece;
    }
  }
  return text;
}

// Whatever follows, some piece of the whole word is the last one that begins in the text here, and
// begins at a place p. The pieces before p are those of the text before p alone: no merge of BPE
// crosses p, and the best path of a unigram model to p is the best one that ends there. Unless p is
// the end of the text, the piece at p is longer than the rest of the text, so the rest is the
// beginning of a piece. So the pieces that all such p have in common are final.
std::vector<std::string> Processor::FinalPieces(absl::string_view beginning,
                                                int64_t* encoded) const {
  if (unspaced_.empty() || !HasScriptWithoutSpaces(beginning)) return {};
  const auto encode = [&](absl::string_view text) {
    *encoded += static_cast<int64_t>(text.size());
    return Encode(text);
  };
  const absl::string_view settled = Settled(beginning);
  std::string text = TextOf(encode(settled));
  if (settled.size() < beginning.size() &&
      !absl::StartsWith(TextOf(encode(beginning)), text)) {
    return {};  // A rule replaces characters on both sides of the settled part's end.
  }
  // The rest after the last such character waits, so that each p can be looked up in unspaced_.
  size_t end = 0;
  for (size_t at = 0, size = 1; at < text.size(); at += size) {
    char32_t c = 0;
    if (ReadUtf8(absl::string_view(text).substr(at), &size, &c) != Utf8::kCharacter) return {};
    if (IsOfScriptWithoutSpaces(c)) end = at + size;
  }
  text.resize(end);
  absl::string_view body = text;
  const size_t space = absl::ConsumePrefix(&body, kSpaceSymbol) ? text.size() - body.size() : 0;
  if (body.empty() || body.find(kSpaceSymbol) != absl::string_view::npos) return {};
  std::vector<std::string> common = encode(body);
  if (TextOf(common) != text) return {};  // Normalised text is changed again.
  // A run of unknown characters is one piece, so that one may grow.
  if (!common.empty() && Kind(common.back()) == PieceKind::kVerbatim) common.pop_back();
  for (size_t at = end; at > 0 && !common.empty();) {
    --at;
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    const absl::string_view rest = absl::string_view(text).substr(at);
    if (rest.size() >= longest_unspaced_) break;
    if (!PieceGoesOn(rest)) continue;
    if (at <= space) {  // The first piece, but for a space alone, may still be this one.
      common.resize(at == 0 || common[0] != kSpaceSymbol ? 0 : 1);
      continue;
    }
    const std::vector<std::string> pieces = encode(body.substr(0, at - space));
    if (TextOf(pieces) != text.substr(0, at)) return {};
    const auto differ = std::mismatch(common.begin(), common.end(), pieces.begin(), pieces.end());
    common.erase(differ.first, common.end());
  }
  return common;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const SentencePiece>> SentencePiece::Load(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxTextFileBytes));
  return Parse(file->bytes(), path);
}

absl::StatusOr<std::unique_ptr<const SentencePiece>> SentencePiece::Parse(absl::string_view bytes,
                                                                          absl::string_view name) {
  auto processor = std::make_unique<Processor>();
  if (const absl::Status status = processor->Init(bytes); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat(name, ": expected a SentencePiece model: ", status.message()));
  }
  return std::unique_ptr<const SentencePiece>(std::move(processor));
}

void SentencePiece::AppendWord(absl::string_view word, TokenizerState* state,
                               std::vector<Symbols>* ready) const {
  Symbols symbols = Encode(word);
  if (const auto* const given = std::any_cast<size_t>(&state->own)) {
    symbols.erase(symbols.begin(), symbols.begin() + std::min(*given, symbols.size()));
    state->own.reset();
  }
  ready->push_back(std::move(symbols));
}

int64_t SentencePiece::PeekWord(absl::string_view beginning, TokenizerState* state,
                                std::vector<Symbols>* /*ready*/, Symbols* early) const {
  int64_t encoded = 0;
  Symbols symbols = FinalPieces(beginning, &encoded);
  const auto* const given = std::any_cast<size_t>(&state->own);
  const size_t before = given == nullptr ? 0 : *given;
  if (symbols.size() <= before) return encoded;
  state->own = symbols.size();
  std::move(symbols.begin() + before, symbols.end(), std::back_inserter(*early));
  return encoded;
}

void SentencePiece::FinishWords(TokenizerState* /*state*/, std::vector<Symbols>* /*ready*/) const {}

TargetBytes SentencePiece::AppendSymbol(absl::string_view piece, TokenizerState* state) const {
  const PieceKind kind = Kind(piece);
  TargetBytes result;
  // Byte pieces form characters with other byte pieces only.
  result.breaks_character = kind != PieceKind::kByte;
  switch (kind) {
    case PieceKind::kByte:  // <0xNN>
      result.bytes = static_cast<char>(HexDigit(piece[3]) * 16 + HexDigit(piece[4]));
      break;
    case PieceKind::kControl:
      break;
    case PieceKind::kUnknown:
      result.bytes = unknown_surface();
      break;
    case PieceKind::kVerbatim:
      result.bytes.assign(piece.data(), piece.size());
      break;
    case PieceKind::kText:
      if (!state->begun && strips_leading_space() && absl::ConsumePrefix(&piece, kSpaceSymbol) &&
          !strips_all_leading_space()) {
        state->begun = true;
      }
      result.bytes = absl::StrReplaceAll(piece, {{kSpaceSymbol, " "}});
      break;
  }
  if (!result.bytes.empty()) state->begun = true;
  return result;
}

TargetBytes SentencePiece::FinishSymbols(TokenizerState* /*state*/) const { return {}; }

}  // namespace leapstream
