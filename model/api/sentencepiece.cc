#include "model/api/sentencepiece.h"

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "sentencepiece_model.pb.h"

// SentencePiece puts std::string_view into namespace absl, which has a type of that name already.
#define absl spm_absl
#include "sentencepiece_processor.h"
#undef absl

namespace leapstream {
namespace {

constexpr char kSpaceSymbol[] = "\xE2\x96\x81";  // U+2581

int HexDigit(char digit) {
  return digit <= '9' ? digit - '0' : digit - 'A' + 10;  // SentencePiece writes upper case only.
}

std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

// Whether every look-up in the normaliser's double array (darts-clone) stays within the array, for
// any text. SentencePiece follows the array's offsets without a check.
bool IsSafeCharsMap(const std::string& map) {
  if (map.empty()) return true;
  const auto word = [&map](size_t at) {
    uint32_t value = 0;
    for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(map[at + i]);
    return value;
  };
  if (map.size() <= 4) return false;
  const size_t trie_bytes = word(0);
  if (trie_bytes % 4 != 0 || trie_bytes == 0 || trie_bytes >= map.size() - 4) return false;
  const size_t units = trie_bytes / 4;
  const size_t text_bytes = map.size() - 4 - trie_bytes;
  if (map.back() != '\0') return false;  // Leaves point to texts that end with NUL.
  for (size_t i = 0; i < units; ++i) {
    const uint32_t unit = word(4 + 4 * i);
    if ((unit >> 31) != 0) {
      if ((unit & 0x7fffffff) >= text_bytes) return false;
    } else {
      const size_t offset = static_cast<size_t>(unit >> 10) << ((unit & 0x200) >> 6);
      if (((i ^ offset) | 0xff) >= units) return false;
    }
  }
  return true;
}

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
    if (!IsSafeCharsMap(model.normalizer_spec().precompiled_charsmap())) {
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

  const std::string& unknown_surface() const override { return unknown_surface_; }
  bool strips_leading_space() const override { return strips_; }
  bool strips_all_leading_space() const override { return strips_all_; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  std::string unknown_piece_;
  std::string unknown_surface_;
  bool strips_ = true;
  bool strips_all_ = true;
};

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

void SentencePiece::AppendWord(absl::string_view word, TokenizerState* /*state*/,
                               std::vector<Symbols>* ready) const {
  ready->push_back(Encode(word));
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
