// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What `cairn` prints.
#include "cli/output.h"

#include <gtest/gtest.h>

namespace cairn::cli {
namespace {

TEST(Json, NestsObjectsAndArrays) {
  JsonWriter json;
  json.beginObject().field("name", "a").field("count", 3u).field("fine", true).key("list").beginArray();
  json.value(1)
      .value("two")
      .beginObject()
      .endObject()
      .endArray()
      .key("none")
      .beginArray()
      .endArray()
      .endObject();
  EXPECT_EQ(json.text(),
            "{\n  \"name\": \"a\",\n  \"count\": 3,\n  \"fine\": true,\n  \"list\": [\n    1,\n    "
            "\"two\",\n    {}\n"
            "  ],\n  \"none\": []\n}");
}

TEST(Json, NumbersOf64BitsKeepAllDigits) {
  JsonWriter json;
  json.beginArray().value(UINT64_MAX).value(INT64_MIN).endArray();
  EXPECT_EQ(json.text(), "[\n  18446744073709551615,\n  -9223372036854775808\n]");
}

std::string quoted(std::string_view text) {
  return JsonWriter().value(text).text();
}

TEST(Json, QuotesAndControlCharactersAreEscaped) {
  EXPECT_EQ(quoted("a\"b\\c\n\x01"), "\"a\\\"b\\\\c\\u000a\\u0001\"");
}

TEST(Json, Utf8PassesAndOtherBytesAreReplaced) {
  EXPECT_EQ(quoted("st\xc3\xa9\xe2\x82\xac\xf0\x9f\x97\xbf"), "\"st\xc3\xa9\xe2\x82\xac\xf0\x9f\x97\xbf\"");
  for (std::string_view bad :
       {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    auto text = quoted(bad);
    EXPECT_NE(text.find("\xef\xbf\xbd"), std::string::npos);
    EXPECT_EQ(text.find(bad), std::string::npos);
  }
}

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  Table table({"NAME", "N"});
  table.add({"chunkd-1", "7"});
  table.add({"x", ""});
  EXPECT_EQ(table.text(), "NAME      N\nchunkd-1  7\nx\n");
}

TEST(HumanBytes, HasOneDigitAfterThePointFromAKibibyteOn) {
  EXPECT_EQ(humanBytes(0), "0 B");
  EXPECT_EQ(humanBytes(1023), "1023 B");
  EXPECT_EQ(humanBytes(1024), "1.0 KiB");
  EXPECT_EQ(humanBytes(1536), "1.5 KiB");
  EXPECT_EQ(humanBytes(64 << 20), "64.0 MiB");
  EXPECT_EQ(humanBytes((1 << 20) - 1), "1.0 MiB");  // not "1024.0 KiB"
  EXPECT_EQ(humanBytes(UINT64_MAX), "16.0 EiB");
}

TEST(Plural, OneHasNoS) {
  EXPECT_EQ(plural(1, "chunk"), "1 chunk");
  EXPECT_EQ(plural(0, "chunk"), "0 chunks");
}

}  // namespace
}  // namespace cairn::cli
