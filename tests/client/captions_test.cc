// The captions of a gateway, their bounds, and the origins that it answers to.
#include "client/gateway/captions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "client/gateway/origin.h"

namespace leapstream::gateway {
namespace {

std::string KeyOf(size_t number) { return absl::StrCat("a key of sixteen or more ", number); }

TEST(CaptionsTest, AnIdFollowsFromItsKey) {
  CaptionStore store;
  std::string id, again, other;
  const auto first = store.Open(KeyOf(1), &id);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*store.Open(KeyOf(1), &again), *first);
  EXPECT_NE(*store.Open(KeyOf(2), &other), *first);
  EXPECT_EQ(id, again);
  EXPECT_NE(id, other);
  EXPECT_EQ(store.Find(id), *first);
  EXPECT_EQ(store.Find(KeyOf(1)), nullptr) << "a key is no id";
  EXPECT_FALSE(store.Open("short", &id).ok());
  EXPECT_FALSE(store.Open(std::string(129, 'k'), &id).ok());
}

TEST(CaptionsTest, SourceThatIsSentAgainIsHeardOnce) {
  CaptionStore store;
  std::string id;
  Captions& captions = **store.Open(KeyOf(1), &id);
  EXPECT_TRUE(captions.IsNew(1, 0));
  EXPECT_TRUE(captions.IsNew(2, 0));
  EXPECT_TRUE(captions.IsNew(2, 1));
  EXPECT_TRUE(captions.IsNew(2, 2));
  for (const auto& [sequence, ends] : {std::pair(1, 0), {2, 0}, {2, 1}, {2, 2}}) {
    EXPECT_FALSE(captions.IsNew(sequence, ends));
  }
  EXPECT_TRUE(captions.IsNew(3, 0));
  captions.BeginSession();
  EXPECT_TRUE(captions.IsNew(1, 0));
}

// A session can be cut at any token: its client has a part of what was said, and gets the rest
// again, cut in another way.
TEST(CaptionsTest, TargetThatComesAgainIsSaidOnce) {
  const std::vector<std::string> pieces = {"ab", "", "c", "def", "g", "hi"};
  const auto delta = [&](size_t first, size_t end) {
    v1::TargetDelta target;
    target.set_segment(1);
    for (size_t i = first; i < end; ++i) {
      target.mutable_text()->append(pieces[i]);
      target.add_tokens()->set_id(static_cast<int>(i));
    }
    return target;
  };
  for (size_t said = 0; said <= pieces.size(); ++said) {
    for (size_t committed = 0; committed <= said; ++committed) {
      for (const bool completed : {false, true}) {
        CaptionStore store;
        std::string id, text;
        Captions& captions = **store.Open(KeyOf(1), &id);
        int tokens = 0;
        const auto take = [&](v1::TargetDelta target) {
          if (!captions.TakeNew(&target)) return;
          text += target.text();
          tokens += target.tokens_size();
        };
        for (size_t i = 0; i < said; ++i) take(delta(i, i + 1));
        if (completed && said == pieces.size()) {
          EXPECT_TRUE(captions.Complete(1));
        }
        captions.ResumeSession(static_cast<int64_t>(committed));
        for (size_t i = committed; i < pieces.size(); i += 2) {
          take(delta(i, std::min(i + 2, pieces.size())));
        }
        EXPECT_EQ(captions.Complete(1), !(completed && said == pieces.size()));
        EXPECT_EQ(text, "abcdefghi") << said << " " << committed;
        EXPECT_EQ(tokens, 6);
        v1::TargetDelta next = delta(0, 1);
        next.set_segment(2);
        EXPECT_TRUE(captions.TakeNew(&next));
        EXPECT_EQ(next.text(), "ab");
      }
    }
  }
}

TEST(CaptionsTest, TheOldestEventsAreForgotten) {
  CaptionStore store;
  std::string id;
  std::vector<std::shared_ptr<Captions>> all;
  constexpr size_t kEvents = 150;
  const std::string event(60 << 10, 'e');
  for (size_t i = 0; i < 10; ++i) {
    all.push_back(*store.Open(KeyOf(i), &id));
    for (size_t event_number = 0; event_number < kEvents; ++event_number) {
      all.back()->Append(absl::StrCat(event_number, event));
    }
  }
  size_t bytes = 0;
  for (const auto& captions : all) {
    uint64_t number = 0;
    size_t own = 0;
    for (; const std::string* const each = captions->At(&number); ++number) own += each->size();
    EXPECT_LE(own, budget::kCaptionBytes);
    EXPECT_EQ(number, captions->end());
    EXPECT_EQ(captions->end(), kEvents) << "numbers stay what they were";
    bytes += own;
  }
  EXPECT_LE(bytes, budget::kAllCaptionBytes + all.size() * (event.size() + 1));
}

TEST(CaptionsTest, StreamsAreBounded) {
  CaptionStore store;
  std::string id;
  std::vector<std::shared_ptr<Captions>> all;
  for (size_t i = 0; i < budget::kCaptionedSessions; ++i) {
    const auto captions = store.Open(KeyOf(i), &id);
    ASSERT_TRUE(captions.ok()) << i;
    all.push_back(*captions);
  }
  EXPECT_EQ(store.Open(KeyOf(all.size()), &id).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(store.Open(KeyOf(0), &id).ok()) << "it is there already";
  // Captions without an event leave nothing behind.
  store.Close(all[7], true);
  EXPECT_TRUE(store.Open(KeyOf(all.size()), &id).ok());
}

TEST(CaptionsTest, WhoIsOverMakesRoomForWhoIsNot) {
  CaptionStore store;
  std::string id, first;
  for (size_t i = 0; i < budget::kCaptionedSessions; ++i) {
    const auto captions = *store.Open(KeyOf(i), i == 0 ? &first : &id);
    captions->Append("{}");
    store.Close(captions, true);
  }
  ASSERT_NE(store.Find(first), nullptr);
  EXPECT_TRUE(store.Open(KeyOf(budget::kCaptionedSessions), &id).ok());
  EXPECT_EQ(store.Find(first), nullptr) << "the oldest is forgotten";
  // A session that no server took leaves nothing behind.
  const auto refused = *store.Open(KeyOf(5000), &id);
  refused->Append("{}");
  refused->Append(std::string(65 << 10, 'e'));
  EXPECT_EQ(refused->end(), 1u) << "an event that is too long is left out";
  store.Close(refused, false);
  EXPECT_EQ(store.Find(id), nullptr);
}

TEST(OriginTest, WhoMayUseIt) {
  const std::vector<std::string> allowed = {"https://talks.example.org"};
  EXPECT_TRUE(MayUse("https://talks.example.org", "10.0.0.1:8080", allowed, {}));
  EXPECT_TRUE(MayUse("http://localhost:8080", "localhost:8080", {}, {}));
  EXPECT_TRUE(MayUse("http://[::1]:8080", "[::1]:8080", {}, {}));
  EXPECT_TRUE(MayUse("http://ours:8080", "ours:8080", {}, {"ours"}));
  EXPECT_TRUE(MayUse("null", "x", {"*"}, {}));
  for (const char* origin : {"http://talks.example.org", "null", "", "evil", "http://ours:8080"}) {
    EXPECT_FALSE(MayUse(origin, "ours:8080", allowed, {})) << origin;
  }
  EXPECT_TRUE(IsOrigin("https://a.b:8443"));
  for (const char* text : {"a.b", "ftp://a.b", "https://", "https://a.b/", "https://a b"}) {
    EXPECT_FALSE(IsOrigin(text)) << text;
  }
}

}  // namespace
}  // namespace leapstream::gateway
