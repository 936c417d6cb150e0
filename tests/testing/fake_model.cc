#include "tests/testing/fake_model.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status.h"
#include "model/api/sentencepiece.h"

namespace leapstream {
namespace {

constexpr char kSpace[] = "\xe2\x96\x81";  // U+2581

std::string DictionaryText(const std::vector<std::string>& symbols = {}) {
  std::string text;
  for (const char* prefix : {kSpace, ""}) {
    for (char c = 'a'; c <= 'z'; ++c) absl::StrAppend(&text, prefix, std::string(1, c), " 1\n");
    for (const char* piece : {"th", "the", "in", "er", "an"}) {
      absl::StrAppend(&text, prefix, piece, " 1\n");
    }
  }
  absl::StrAppend(&text, "<0xC3> 1\n<0xA4> 1\n");
  for (const std::string& symbol : symbols) absl::StrAppend(&text, symbol, " 1\n");
  return text;
}

Vocabulary FakeVocabulary(const std::string& dictionary = DictionaryText()) {
  absl::StatusOr<Vocabulary> vocabulary = Vocabulary::Parse(dictionary, "fake");
  LEAPSTREAM_CHECK(vocabulary.ok());
  return *std::move(vocabulary);
}

// A dictionary of `size` pieces, each a Han character.
std::string ChineseDictionaryText(int size) {
  std::string text;
  for (int i = 0; i < size; ++i) {
    absl::StrAppend(&text, "\xE4\xB8", std::string(1, static_cast<char>(0x80 + i)), " 1\n");
  }
  return text;
}

size_t CharacterBytes(absl::string_view text) {
  size_t bytes = 1;
  while (bytes < text.size() && (text[bytes] & 0xC0) == 0x80) ++bytes;
  return bytes;
}

// Cuts each word into pieces of one to three characters; the word's bytes give the lengths.
// Zero-width spaces (U+200B) are in no piece, so that a word of them alone has no pieces.
class FakeTokenizer final : public SentencePiece {
 public:
  std::vector<std::string> Encode(absl::string_view given) const override {
    const std::string visible = absl::StrReplaceAll(given, {{"\xE2\x80\x8B", ""}});
    absl::string_view text = visible;
    std::vector<std::string> pieces;
    while (!text.empty()) {
      if (text[0] == ' ') {
        text.remove_prefix(1);
        continue;
      }
      std::string piece = kSpace;
      while (!text.empty() && text[0] != ' ') {
        const int characters =
            vocabulary_.Id(absl::StrCat(piece, text.substr(0, 3))) != kUnknown   ? 3
            : vocabulary_.Id(absl::StrCat(piece, text.substr(0, 2))) != kUnknown ? 2
                                                                                 : 1;
        for (int i = 0; i < characters && !text.empty(); ++i) {
          const size_t bytes = CharacterBytes(text);
          piece.append(text.data(), bytes);
          text.remove_prefix(bytes);
        }
        pieces.push_back(std::move(piece));
        piece.clear();
      }
    }
    return pieces;
  }

  std::string Decode(const std::vector<std::string>& pieces) const override {
    std::string text;
    std::string bytes;
    const auto flush = [&] {
      // Only C3 A4 is a character; every other byte is U+FFFD.
      for (size_t i = 0; i < bytes.size(); ++i) {
        if (bytes.compare(i, 2, "\xC3\xA4") == 0) {
          text += "\xC3\xA4";
          ++i;
        } else {
          text += "\xEF\xBF\xBD";
        }
      }
      bytes.clear();
    };
    for (const std::string& piece : pieces) {
      switch (Kind(piece)) {
        case PieceKind::kByte:
          bytes += piece == "<0xC3>" ? '\xC3' : '\xA4';
          continue;
        case PieceKind::kControl:
          continue;
        case PieceKind::kUnknown:
          flush();
          text += unknown_surface();
          continue;
        case PieceKind::kVerbatim:
          flush();
          text += piece;
          continue;
        case PieceKind::kText:
          flush();
          text += absl::StartsWith(piece, kSpace)
                      ? absl::StrCat(text.empty() ? "" : " ", piece.substr(sizeof(kSpace) - 1))
                      : piece;
      }
    }
    flush();
    return text;
  }

  PieceKind Kind(absl::string_view piece) const override {
    if (piece == "<0xC3>" || piece == "<0xA4>") return PieceKind::kByte;
    if (piece == "<unk>") return PieceKind::kUnknown;
    if (piece == "<s>" || piece == "</s>" || piece == "<pad>") return PieceKind::kControl;
    return PieceKind::kText;
  }
  std::vector<std::string> AllPieces() const override {
    std::vector<std::string> pieces;
    for (TokenId id = 0; id < vocabulary_.size(); ++id) {
      pieces.emplace_back(vocabulary_.Symbol(id));
    }
    return pieces;
  }
  const std::string& unknown_surface() const override { return unknown_surface_; }
  bool strips_leading_space() const override { return true; }
  bool strips_all_leading_space() const override { return false; }

 private:
  const std::string unknown_surface_ = " \xE2\x81\x87 ";
  const Vocabulary vocabulary_ = FakeVocabulary();
};

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ (value + 1)) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

struct FakeState final : SessionState {
  void Reset() override {
    FakeState fresh;
    fresh.room = room;
    fresh.bytes_per_token = bytes_per_token;
    fresh.on_wait_k = on_wait_k;
    fresh.frame = frame;
    fresh.shows_attention = shows_attention;
    fresh.refreshes = refreshes;
    fresh.ends_prefixes = ends_prefixes;
    fresh.cost = cost;
    *this = fresh;
  }
  void SetFrame(const Frame& given) override {
    frame = given;
    Reset();
  }
  uint64_t TargetHash() const {
    if (written > 0 || frame == Frame()) return target_hash;
    uint64_t hash = Mix(Mix(target_hash, frame.start), frame.end);
    for (const TokenId token : frame.forced) hash = Mix(hash, token);
    return Mix(hash, source_hash);
  }
  void SetWaitK(int k, int /*write_stride*/) override {
    if (on_wait_k != nullptr && *on_wait_k != nullptr) (*on_wait_k)(k);
  }
  void Commit(TokenId token) override {
    target_hash = Mix(TargetHash(), token);
    past_hash = Mix(past_hash, refreshes ? token : Mix(source_hash, token));
    ++written;
  }
  void Repeat() override {}
  void ShowAttention() override { shows_attention = true; }
  void RefreshPast() override { refreshes = true; }
  void EndPrefixes() override { ends_prefixes = true; }
  absl::StatusOr<std::unique_ptr<SessionState>> Clone() const override {
    auto copy = std::make_unique<FakeState>(*this);
    copy->room = 0;
    copy->cost = StateCost();
    return copy;
  }
  absl::Status CopyFrom(const SessionState& other) override {
    const StateCost own = cost;
    *this = static_cast<const FakeState&>(other);
    cost = own;
    return absl::OkStatus();
  }
  StateCost TakeCost() override { return std::exchange(cost, StateCost()); }
  int source_read() const override { return read; }
  int target_written() const override { return written; }
  // The bytes are those of a cache, which keeps its room.
  int64_t bytes() const override {
    room = std::max(room, read + written);
    return static_cast<int64_t>(sizeof(FakeState)) + room * bytes_per_token / 2;
  }

  StateCost cost;
  uint64_t source_hash = 1;
  uint64_t target_hash = 2;
  uint64_t past_hash = 3;  // Of the target, and of what had been read when it was committed.
  bool shows_attention = false;
  bool refreshes = false;
  bool ends_prefixes = false;
  std::vector<TokenId> source;  // Without the end.
  int64_t samples = 0;  // Samples of speech.
  int read = 0;
  int written = 0;
  bool source_finished = false;
  mutable int room = 0;  // In tokens.
  int64_t bytes_per_token = 0;
  const std::function<void(int)>* on_wait_k = nullptr;  // The translator owns it.
  Frame frame;
};

class FakeTranslator final : public Translator {
 public:
  FakeTranslator(int vocabulary_size, const FakeModelOptions& options)
      : vocabulary_size_(vocabulary_size),
        follows_source_(options.follows_source),
        can_replay_(options.can_replay && !options.learned_policy && !options.speech),
        step_delay_(options.step_delay),
        fails_(options.fails),
        ends_after_(options.ends_after),
        encodes_anew_(options.encodes_anew),
        state_bytes_per_token_(options.state_bytes_per_token),
        learned_policy_(options.learned_policy),
        speech_(options.speech),
        on_new_state_(options.on_new_state),
        on_wait_k_(options.on_wait_k) {}

  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override {
    if (on_new_state_ != nullptr) on_new_state_();
    auto state = std::make_unique<FakeState>();
    state->bytes_per_token = state_bytes_per_token_;
    state->on_wait_k = &on_wait_k_;
    return state;
  }
  bool encodes_anew() const override { return encodes_anew_; }

  absl::Status Read(absl::Span<const SourceRows> rows,
                    BetweenLayers between_layers) const override {
    for (const SourceRows& row : rows) {
      if (speech_ ? !row.tokens.empty() : !row.samples.empty()) {
        return absl::InvalidArgumentError("the other kind of source");
      }
      for (const TokenId token : row.tokens) {
        if (token < 0 || token >= vocabulary_size_) {
          return absl::InvalidArgumentError(absl::StrCat("no such source token: ", token));
        }
      }
    }
    between_layers();
    for (const SourceRows& row : rows) {
      auto& state = static_cast<FakeState&>(*row.state);
      LEAPSTREAM_CHECK(!state.source_finished || row.tokens.empty());  // Nothing comes after it.
      const std::vector<TokenId>& tail = state.frame.source_tail;
      if (!row.tokens.empty() && state.read == 0) {
        for (const TokenId token : state.frame.source_lead) {
          state.source_hash = Mix(state.source_hash, token);
        }
      }
      for (const TokenId token : row.tokens) {
        state.source_hash = Mix(state.source_hash, token);
        if (follows_source_.has_value()) state.source.push_back(token);
        ++state.read;
        ++state.cost.encoder_rows;
      }
      if (row.tokens.size() >= tail.size() &&
          std::equal(tail.rbegin(), tail.rend(), row.tokens.rbegin())) {
        state.source_finished = true;
        state.read -= static_cast<int>(tail.size()) - 1;
        if (follows_source_.has_value()) state.source.resize(state.source.size() - tail.size());
      }
      for (const float sample : row.samples) {
        state.source_hash = Mix(state.source_hash, static_cast<uint64_t>(sample * 65536));
        ++state.samples;
      }
      if (!row.samples.empty()) {
        state.read = static_cast<int>(SpeechInput().StatesOf(state.samples));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override {
    if (fails_) return absl::InternalError("the fake model was asked to fail");
    for (const SessionState* state : states) {
      if (state->source_read() == 0) return absl::FailedPreconditionError("nothing was read");
    }
    if (step_delay_ > absl::ZeroDuration()) absl::SleepFor(step_delay_);
    between_layers();
    for (size_t b = 0; b < states.size(); ++b) {
      auto& state = static_cast<FakeState&>(*states[b]);
      ++state.cost.decoder_rows;
      const uint64_t hash = Mix(state.source_hash, state.TargetHash());
      result[b] = Decision();
      if (follows_source_.has_value()) {
        result[b] = Follow(state);
        continue;
      }
      if (learned_policy_ && !state.source_finished && hash % 3 == 0) {
        result[b].wants_source = true;
        continue;
      }
      const int words = vocabulary_size_ - 4;
      const TokenId first = 4 + static_cast<TokenId>(hash % words);
      const TokenId second = 4 + static_cast<TokenId>((hash % words + 1) % words);
      const bool end = ends_after_ > 0 ? state.written >= ends_after_
                       : state.source_finished
                           ? state.written >= state.read - 1 + static_cast<int>(hash % 3)
                           : hash % 11 == 0;
      result[b].best = {end ? state.frame.end : first, -0.25f};
      result[b].second = {end ? first : second, -2.0f};
    }
    return absl::OkStatus();
  }

  // Each token's score is a hash, too. The end is likely where Decide() would end.
  absl::Status Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                     BetweenLayers between_layers) const override {
    if (fails_) return absl::InternalError("the fake model was asked to fail");
    if (step_delay_ > absl::ZeroDuration()) absl::SleepFor(step_delay_);
    between_layers();
    std::vector<float> log_probs(vocabulary_size_);
    for (size_t b = 0; b < rows.size(); ++b) {
      auto& state = static_cast<FakeState&>(*rows[b].state);
      ++state.cost.decoder_rows;
      const uint64_t hash = Mix(state.source_hash, state.target_hash);
      for (int id = 0; id < vocabulary_size_; ++id) {
        log_probs[id] = -2.0f - static_cast<float>(Mix(hash, id) % 1000) / 200;
      }
      const int end = ends_after_ > 0 ? ends_after_ : state.read - 1 + static_cast<int>(hash % 3);
      log_probs[kEndOfSentence] = state.written >= end ? -0.25f : -6.0f;
      TokenScores scores;
      scores.logits = log_probs;
      visit(b, scores);
    }
    return absl::OkStatus();
  }

  bool can_replay() const override { return can_replay_; }
  absl::Status Replay(absl::Span<const ReplayRows> rows,
                      BetweenLayers between_layers) const override {
    for (const ReplayRows& row : rows) {
      const int before = row.state->source_read();
      const auto& state = static_cast<const FakeState&>(*row.state);
      const std::vector<TokenId>& tail = state.frame.source_tail;
      const auto size = static_cast<int>(row.source.size());
      const bool ends = row.source.size() >= tail.size() &&
                        std::equal(tail.rbegin(), tail.rend(), row.source.rbegin());
      const int after = before + size - (ends ? static_cast<int>(tail.size()) - 1 : 0);
      int begin = 0;
      const auto read_to = [&](int source_read) {
        const int end = source_read == after ? size : source_read - before;
        const auto tokens = row.source.subspan(begin, end - begin);
        begin = end;
        return Read({{row.state, tokens}}, between_layers);
      };
      for (size_t i = 0; i < row.target.size(); ++i) {
        LEAPSTREAM_RETURN_IF_ERROR(read_to(row.source_read[i]));
        row.state->Commit(row.target[i]);
      }
      LEAPSTREAM_RETURN_IF_ERROR(read_to(after));
    }
    return absl::OkStatus();
  }

 private:
  Decision Follow(const FakeState& state) const {
    const auto place = static_cast<size_t>(state.written);
    uint64_t hash = Mix(Mix(state.source_hash, state.past_hash), place);
    if (state.ends_prefixes) hash = Mix(hash, 1);
    const auto other = 4 + static_cast<TokenId>(hash % (vocabulary_size_ - 4));
    Decision decision;
    const bool ends = place >= state.source.size();
    const bool strays = *follows_source_ > 0 && (hash >> 7) % *follows_source_ == 0;
    decision.best = {strays ? other : ends ? state.frame.end : state.source[place],
                     -static_cast<float>(hash % 1000) / 500};
    // It must end, however much it strays.
    if (state.written > 2 * state.read + 20) decision.best.id = state.frame.end;
    decision.second = {other == decision.best.id ? 4 : other, -4};
    const int last = static_cast<int>(state.source.size()) - 1;  // The newest one does not count.
    if (state.shows_attention && last > 0) {
      const int attended = state.written + static_cast<int>((hash >> 11) % 3) - 1;
      decision.attended = std::clamp(attended, 0, last - 1);
    }
    return decision;
  }

  const int vocabulary_size_;
  const std::optional<int> follows_source_;
  const bool can_replay_;
  const absl::Duration step_delay_;
  const bool fails_;
  const int ends_after_;
  const bool encodes_anew_;
  const int64_t state_bytes_per_token_;
  const bool learned_policy_;
  const bool speech_;
  const std::function<void()> on_new_state_;
  const std::function<void(int)> on_wait_k_;
};

}  // namespace

std::shared_ptr<const Model> FakeModel(const FakeModelOptions& options) {
  auto model = std::make_shared<Model>();
  model->info.name = options.name;
  model->info.checksum = options.checksum;
  model->info.compute_type = "fake";
  model->info.default_k = options.learned_policy ? 0 : options.default_k;
  model->info.learned_policy = options.learned_policy;
  model->info.max_k = options.max_k;
  model->info.shows_attention = options.follows_source.has_value();
  model->info.bidirectional_encoder = options.bidirectional;
  model->info.state_bytes_per_session = sizeof(FakeState);
  model->info.state_bytes_per_token = options.state_bytes_per_token;
  if (options.speech) model->info.speech = SpeechInput();
  model->source_vocabulary = FakeVocabulary(DictionaryText(options.symbols));
  model->target_vocabulary = FakeVocabulary(DictionaryText(options.symbols));
  if (options.repeats) {
    std::string text = DictionaryText();
    for (char c = 'a'; c <= 'z'; ++c) {
      absl::StrAppend(&text, kSpace, std::string(1, c), " 1 #fairseq:overwrite\n");
    }
    model->target_vocabulary = *Vocabulary::Parse(text, "fake");
    model->feeds_back_symbols = true;
  }
  if (options.target_language == "zh") {
    constexpr int kSpecial = 4;  // <s>, <pad>, </s>, <unk>
    model->target_vocabulary =
        FakeVocabulary(ChineseDictionaryText(model->target_vocabulary.size() - kSpecial));
  }
  ModelConfig config;
  config.frame = options.frame;
  config.languages = options.languages;
  config.source_language = options.source_language;
  config.target_language = options.target_language;
  LEAPSTREAM_CHECK(model->SetLanguages(config).ok());
  model->translator = std::make_unique<FakeTranslator>(model->target_vocabulary.size(), options);
  model->source_tokenizer = std::make_unique<FakeTokenizer>();
  model->target_tokenizer = std::make_unique<FakeTokenizer>();
  return model;
}

}  // namespace leapstream
