#include "base/glossary_text.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "base/budget.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

TEST(GlossaryTextTest, ReadsTermsAndComments) {
  const auto terms =
      ParseGlossary("# of our house\nfile\tDatei\r\n\nKubernetes\n hard disk \t Platte ", "g");
  ASSERT_TRUE(terms.ok()) << terms.status();
  ASSERT_EQ(terms->size(), 3u);
  EXPECT_EQ((*terms)[0].source, "file");
  EXPECT_EQ((*terms)[0].target, "Datei");
  EXPECT_EQ((*terms)[1].source, "Kubernetes");
  EXPECT_EQ((*terms)[1].target, "");
  EXPECT_EQ((*terms)[2].source, "hard disk");
  EXPECT_EQ((*terms)[2].target, "Platte");
  EXPECT_EQ(GlossaryText(*terms), "file\tDatei\nKubernetes\nhard disk\tPlatte\n");
}

TEST(GlossaryTextTest, AnEqualsSignMayStandForTheTab) {
  const auto terms = ParseGlossary(
      "hard disk = Platte\na = b = c\nx=y\n1 = 2\t3 = 4\nC = D\t\nLibreOffice =", "g");
  ASSERT_TRUE(terms.ok()) << terms.status();
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const GlossaryTerm& term : *terms) pairs.emplace_back(term.source, term.target);
  using Pair = std::pair<std::string, std::string>;
  EXPECT_THAT(pairs, testing::ElementsAre(Pair("hard disk", "Platte"), Pair("a", "b = c"),
                                          Pair("x=y", ""), Pair("1 = 2", "3 = 4"),
                                          Pair("C = D", ""), Pair("LibreOffice =", "")));
  // A glossary that is written reads as it was.
  const auto again = ParseGlossary(GlossaryText(*terms), "g");
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->size(), terms->size());
  for (size_t i = 0; i < terms->size(); ++i) {
    EXPECT_EQ((*again)[i].source, (*terms)[i].source);
    EXPECT_EQ((*again)[i].target, (*terms)[i].target);
  }
}

TEST(GlossaryTextTest, SaysWhichLineIsWrong) {
  const auto wrong = [](const std::string& text) {
    return std::string(ParseGlossary(text, "g.tsv").status().message());
  };
  EXPECT_THAT(wrong("a\tb\nc\td\te"), HasSubstr("g.tsv:2: want a source term, a tab"));
  EXPECT_THAT(wrong("\tb"), HasSubstr("g.tsv:1: the source of a term must be"));
  EXPECT_THAT(wrong("a\t\xff"), HasSubstr("must be UTF-8"));
  EXPECT_THAT(wrong("a\x01"), HasSubstr("must have no tab, line end or control"));
  EXPECT_THAT(wrong(std::string(budget::kTermBytes + 1, 'a')), HasSubstr("256 bytes at most"));
}

TEST(GlossaryTextTest, HasLimits) {
  std::string many;
  for (size_t i = 0; i <= budget::kGlossaryTerms; ++i) many += "a\tb\n";
  EXPECT_THAT(std::string(ParseGlossary(many, "g").status().message()), HasSubstr("1000 terms"));
  const std::string large(budget::kTermBytes, 'a');
  std::vector<GlossaryTerm> terms(budget::kGlossaryBytes / budget::kTermBytes, {large, ""});
  EXPECT_TRUE(CheckGlossary(terms).ok());
  terms.push_back({"b", ""});
  EXPECT_THAT(std::string(CheckGlossary(terms).message()), HasSubstr("65536 bytes"));
  EXPECT_FALSE(ReadGlossary("/no/such/file").ok());
}

}  // namespace
}  // namespace leapstream
