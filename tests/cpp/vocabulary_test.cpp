// Vocabulary: ids and texts as Python's class gives them (tests/python/test_embedding_parity.py compares the two on
// random text); what is malformed is refused.
#include "rnncore/vocabulary.hpp"

#include <gtest/gtest.h>

#include "rnncore/error.hpp"

namespace rnncore {
namespace {

using Ids = std::vector<std::int64_t>;

std::string error_of(const Vocabulary& vocabulary, const std::string& text) {
  try {
    vocabulary.encode(text);
  } catch (const ArgumentError& e) {
    return e.what();
  }
  ADD_FAILURE() << "encoded";
  return {};
}

TEST(Vocabulary, Characters) {
  const Vocabulary v(TextLevel::character, {"\n", "a", "\xc3\xa9", "\xf0\x9f\x99\x82"});
  EXPECT_EQ(v.encode("\xf0\x9f\x99\x82"
                     "a\n\xc3\xa9"),
            (Ids{3, 1, 0, 2}));
  EXPECT_EQ(v.decode({3, 1, 0, 2}),
            "\xf0\x9f\x99\x82"
            "a\n\xc3\xa9");
  EXPECT_EQ(v.end_id(), 0);
  EXPECT_EQ(v.unknown_id(), -1);
  EXPECT_EQ(error_of(v, "a\n\xc3\xa9z"),
            "[encode] text: expected the 4 characters that the model knows, got 'z' (U+007A) at character 3 (line 2, "
            "column 2)");
  EXPECT_EQ(error_of(v, "a\xff"), "[encode] text: expected UTF-8, got other bytes at byte 1");
  EXPECT_EQ(Vocabulary(TextLevel::character, {"<unk>", "a"}, "<unk>").encode("a\xc3\xa9z"), (Ids{1, 0, 0}));
  EXPECT_THROW(v.decode({4}), ArgumentError);
  EXPECT_THROW(v.decode({-1}), ArgumentError);
}

TEST(Vocabulary, Words) {
  const Vocabulary v(TextLevel::word, {"<unk>", "<eos>", "the", "cat"}, "<unk>");
  EXPECT_EQ(v.encode("the\tcat\n\nthe\xc2\xa0"
                     "dog"),
            (Ids{2, 3, 1, 1, 2, 0, 1}));
  EXPECT_EQ(v.encode("the cat", false), (Ids{2, 3}));
  EXPECT_EQ(v.encode("the cat\n", false), (Ids{2, 3, 1}));
  EXPECT_EQ(v.encode(""), Ids{});
  EXPECT_EQ(v.decode({2, 3, 1, 1, 2}), "the cat\n\nthe");
  EXPECT_EQ(v.end_id(), 1);
  EXPECT_NE(error_of(Vocabulary(TextLevel::word, {"<eos>", "a"}), "a b").find("'b', word 1"), std::string::npos);
  EXPECT_NE(error_of(v, "a \xc3").find("at byte 2"), std::string::npos);
}

TEST(Vocabulary, BytesBecomeTextWithReplacements) {
  const Vocabulary v(TextLevel::byte, {});
  EXPECT_EQ(v.size(), 256);
  EXPECT_EQ(v.encode("a\xff"), (Ids{97, 255}));
  EXPECT_EQ(v.decode({0xC3, 0xA9}), "\xc3\xa9");
  EXPECT_EQ(v.decode({0xE2, 0x82, 97}),
            "\xef\xbf\xbd"
            "a");  // a cut character is one replacement
  EXPECT_EQ(v.decode({0xED, 0xA0, 0x80}), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // a surrogate is three
}

TEST(Vocabulary, JsonRoundTrip) {
  for (const char* json : {R"({"level":"byte"})", R"({"level":"char","tokens":["a","b"],"unknown":null})",
                           R"({"level":"word","tokens":["<unk>","x y"],"unknown":"<unk>"})"})
    EXPECT_EQ(Vocabulary::from_json(json).to_json(), json);
}

TEST(Vocabulary, WhatIsMalformedIsRefused) {
  for (const char* json :
       {"[]", "{}", R"({"level":"subword"})", R"({"level":"char"})", R"({"level":"char","tokens":[]})",
        R"({"level":"char","tokens":["ab"]})", R"({"level":"char","tokens":[""]})", R"({"level":"char","tokens":[1]})",
        R"({"level":"char","tokens":["a","a"]})", R"({"level":"char","tokens":["a"],"unknown":"b"})",
        R"({"level":"char","tokens":["a"],"unknown":""})", R"({"level":"char","tokens":["a"],"more":1})",
        R"({"level":"byte","tokens":["a"]})", R"({"level":3})"})
    EXPECT_THROW(Vocabulary::from_json(json), ArgumentError) << json;
}

}  // namespace
}  // namespace rnncore
