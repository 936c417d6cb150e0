// Runs of scripts without spaces: SentencePiece gives out the first pieces of a word that no
// continuation changes.
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/api/model_config.h"
#include "model/api/sentencepiece.h"
#include "model/api/tokenizers/normaliser_rules.h"
#include "model/api/tokenizers/subword_tokenizer.h"

namespace leapstream {
namespace {

using Strings = std::vector<std::string>;

// The wire format of protocol buffers, as far as a ModelProto needs it.
std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string Bytes(int field, const std::string& value) {
  return absl::StrCat(Varint(field << 3 | 2), Varint(value.size()), value);
}
std::string Number(int field, uint64_t value) {
  return absl::StrCat(Varint(field << 3), Varint(value));
}
std::string Float(int field, float value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return absl::StrCat(Varint(field << 3 | 5), bytes);
}

// The field of a message, which must have it.
std::string FieldOf(const std::string& message, uint64_t wanted) {
  for (size_t at = 0; at < message.size();) {
    const auto read = [&] {
      uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<unsigned char>(message[at++]);
        value |= uint64_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return value;
      }
    };
    const uint64_t key = read();
    switch (key & 7) {
      case 0: read(); break;
      case 1: at += 8; break;
      case 5: at += 4; break;
      default: {
        const uint64_t size = read();
        if (key >> 3 == wanted) return message.substr(at, size);
        at += size;
      }
    }
  }
  return "";
}

std::string EmbeddedModel() {
  std::ifstream in(LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de/source.spm.model",
                   std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

// The rules of nmt_nfkc, which the embedded model has.
const std::string& Nfkc() {
  static const auto* const rules = new std::string(FieldOf(FieldOf(EmbeddedModel(), 3), 2));
  return *rules;
}

constexpr uint64_t kUnigram = 1, kBpe = 2;

std::unique_ptr<const SentencePiece> MakeModel(uint64_t type, const Strings& pieces,
                                               const std::string& rules, std::mt19937* random,
                                               bool byte_fallback = false) {
  std::string model = Bytes(1, Bytes(1, "<unk>") + Float(2, 0) + Number(3, 2));
  model += Bytes(1, Bytes(1, "<s>") + Float(2, 0) + Number(3, 3));
  model += Bytes(1, Bytes(1, "</s>") + Float(2, 0) + Number(3, 3));
  if (byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) {
      const char* const digits = "0123456789ABCDEF";
      const std::string name = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
      model += Bytes(1, Bytes(1, name) + Float(2, 0) + Number(3, 6));
    }
  }
  float rank = 0;
  for (const std::string& piece : pieces) {
    const float score = type == kBpe ? --rank : -1 - static_cast<float>((*random)() % 1000) / 100;
    model += Bytes(1, Bytes(1, piece) + Float(2, score));
  }
  model += Bytes(2, Number(3, type) + Number(35, byte_fallback ? 1 : 0));
  model += Bytes(3, (rules.empty() ? "" : Bytes(2, rules)) + Number(3, 1));
  auto parsed = SentencePiece::Parse(model, "made.model");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *std::move(parsed);
}

// Feeds a word in random chunks of characters, and checks what came out early. Returns how many of
// the pieces did.
size_t Feed(const SentencePiece& model, const Strings& characters, std::mt19937* random) {
  std::string word;
  for (const std::string& character : characters) word += character;
  const Strings expected = model.Encode(word);
  TokenizerState state;
  std::vector<SourceTokenizer::Symbols> ready;
  SourceTokenizer::Symbols early;
  std::string beginning;
  for (size_t i = 0; i < characters.size(); ++i) {
    beginning += characters[i];
    if ((*random)() % 3 != 0) model.PeekWord(beginning, &state, &ready, &early);
  }
  EXPECT_TRUE(ready.empty());
  const size_t out = early.size();
  EXPECT_LE(out, expected.size());
  model.AppendWord(word, &state, &ready);
  Strings all = early;
  all.insert(all.end(), ready.at(0).begin(), ready.at(0).end());
  EXPECT_EQ(expected, all) << word;
  EXPECT_FALSE(state.own.has_value());
  return out;
}

TEST(UnspacedTest, NoContinuationChangesAPieceThatIsOut) {
  std::mt19937 random(3);
  // Kana with a mark that joins the one before, a character that becomes two, full-width forms,
  // Thai with a mark, Latin, and characters that no model here knows.
  const Strings alphabet = {"漢", "字", "か", "\xE3\x82\x99", "㌔", "キ", "ロ", "。", "，",
                            "Ａ", "b",  "ก",  "\xE0\xB8\xB3", "龍", "鬼", "は", "ｶ",  "\xEF\xBE\x9E"};
  const Strings known = {"漢", "字", "か", "が", "キ", "ロ", "。", ",", "A", "b", "ก", "は", "ガ"};
  size_t out = 0, pieces = 0;
  for (int round = 0; round < 60; ++round) {
    Strings made = {"\xE2\x96\x81"};
    for (const std::string& character : known) {
      if (random() % 8 != 0) made.push_back(character);
    }
    // Each longer piece is two shorter ones, as BPE needs it.
    for (int n = 0; n < 25; ++n) {
      const std::string piece = made[random() % made.size()] + made[random() % made.size()];
      const bool space_inside = piece.find("\xE2\x96\x81", 1) != std::string::npos;
      bool repeated = false;
      for (const std::string& other : made) repeated = repeated || other == piece;
      if (!space_inside && !repeated && piece.size() < 20) made.push_back(piece);
    }
    const auto model = MakeModel(round % 2 == 0 ? kUnigram : kBpe, made,
                                 round % 3 == 0 ? "" : Nfkc(), &random, round % 5 == 0);
    for (int text = 0; text < 60; ++text) {
      Strings characters;
      for (int n = 1 + static_cast<int>(random() % 25); n > 0; --n) {
        characters.push_back(alphabet[random() % alphabet.size()]);
      }
      out += Feed(*model, characters, &random);
      std::string word;
      for (const std::string& character : characters) word += character;
      pieces += model->Encode(word).size();
    }
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(out, pieces / 2) << "of " << pieces;  // It is early, and not only right.
}

TEST(UnspacedTest, OtherWordsWaitUntilTheyAreComplete) {
  const auto model = *SentencePiece::Parse(EmbeddedModel(), "embedded");
  TokenizerState state;
  std::vector<SourceTokenizer::Symbols> ready;
  SourceTokenizer::Symbols early;
  for (const char* word : {"Presentation", "Grüße", "don't,", "слово", "שלום", "한국어"}) {
    EXPECT_EQ(0, model->PeekWord(word, &state, &ready, &early)) << word;
  }
  EXPECT_TRUE(early.empty());
}

TEST(NormaliserRulesTest, KnowsWhichTextsGoOn) {
  ASSERT_TRUE(NormaliserRules::IsSafe(Nfkc()));
  const NormaliserRules rules(Nfkc());
  EXPECT_TRUE(rules.GoesOn("か"));  // With U+3099 it becomes one character.
  EXPECT_FALSE(rules.GoesOn("か\xE3\x82\x99"));
  EXPECT_FALSE(rules.GoesOn("漢"));
  EXPECT_FALSE(NormaliserRules().GoesOn("か"));
}

// Characters and bytes are final as they are, but for those of other scripts at the end.
TEST(UnspacedTest, CharactersAndBytesComeOneByOne) {
  std::mt19937 random(5);
  const Strings alphabet = {"漢", "字", "か", "。", "ก", "b", "Ä", "İ", "\t", "\xC2\xA0", " "};
  for (const char* bpe : {"characters", "bytes"}) {
    for (const char* name : {"none", "space"}) {
      TokenizerConfig config;
      config.bpe = bpe;
      config.tokenizer = name;
      config.lowercase = true;
      const auto tokenizer = *SubwordTokenizer::Create(config, {});
      const auto ends_word = [&tokenizer](const std::string& c) {
        return c == " " || (!tokenizer->cuts_at_spaces_only() && (c == "\t" || c == "\xC2\xA0"));
      };
      size_t out = 0;
      for (int round = 0; round < 2000; ++round) {
        std::string text, word;
        Strings all;
        TokenizerState state;
        std::vector<SourceTokenizer::Symbols> ready;
        // Early symbols belong to the word after all that are ready.
        const auto take = [&](const Strings& early) {
          for (const auto& symbols : ready) all.insert(all.end(), symbols.begin(), symbols.end());
          ready.clear();
          all.insert(all.end(), early.begin(), early.end());
          out += early.size();
        };
        for (size_t n = random() % 12; n > 0; --n) {
          const std::string& c = alphabet[random() % alphabet.size()];
          text += c;
          if (!ends_word(c)) {
            word += c;
            Strings early;
            if (random() % 3 != 0) tokenizer->PeekWord(word, &state, &ready, &early);
            take(early);
          } else if (!word.empty()) {
            tokenizer->AppendWord(word, &state, &ready);
            word.clear();
          }
          const TokenizerState copy = state;  // A copy goes on by itself.
          state = copy;
        }
        if (!word.empty()) tokenizer->AppendWord(word, &state, &ready);
        tokenizer->FinishWords(&state, &ready);
        take({});
        ASSERT_EQ(all, tokenizer->Encode(text)) << text;
      }
      EXPECT_GT(out, 1000u) << bpe;
    }
  }
  TokenizerConfig config;
  config.bpe = "characters";
  TokenizerState state;
  std::vector<SourceTokenizer::Symbols> ready;
  Strings early;
  const auto tokenizer = *SubwordTokenizer::Create(config, {});
  EXPECT_EQ(tokenizer->PeekWord("漢字b", &state, &ready, &early), 6);
  EXPECT_EQ(early, (Strings{"漢", "字"}));
  EXPECT_EQ(tokenizer->PeekWord("latin", &state, &ready, &early), 0);
}

}  // namespace
}  // namespace leapstream
