// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See json.h. The parser is Cap'n Proto's.
#include "test/e2e/json.h"

#include <capnp/compat/json.h>
#include <capnp/message.h>
#include <kj/debug.h>

#include <cmath>

namespace cairn::e2e {

struct Json::Document {
  capnp::MallocMessageBuilder message;
  std::string text;
};

struct Json::Node {
  capnp::JsonValue::Reader value;
};

Json::Json(std::shared_ptr<Document> document, std::shared_ptr<Node> node)
    : document(std::move(document)), node(std::move(node)) {}
Json::Json(const Json&) = default;
Json& Json::operator=(const Json&) = default;
Json::~Json() = default;

Json Json::parse(const std::string& text) {
  auto document = std::make_shared<Document>();
  document->text = text;
  auto root = document->message.initRoot<capnp::JsonValue>();
  capnp::JsonCodec().decodeRaw(kj::arrayPtr(text.data(), text.size()), root);
  return Json(document, std::make_shared<Node>(Node{root.asReader()}));
}

bool Json::has(const std::string& member) const {
  if (!node->value.isObject()) return false;
  for (auto field : node->value.getObject()) {
    if (field.getName() == member.c_str()) return true;
  }
  return false;
}

Json Json::at(const std::string& member) const {
  KJ_REQUIRE(node->value.isObject(), "not an object", document->text.c_str());
  for (auto field : node->value.getObject()) {
    if (field.getName() == member.c_str()) {
      return Json(document, std::make_shared<Node>(Node{field.getValue()}));
    }
  }
  KJ_FAIL_REQUIRE("no such member", member.c_str(), document->text.c_str());
}

std::vector<Json> Json::items() const {
  KJ_REQUIRE(node->value.isArray(), "not an array", document->text.c_str());
  std::vector<Json> all;
  for (auto value : node->value.getArray())
    all.push_back(Json(document, std::make_shared<Node>(Node{value})));
  return all;
}

std::string Json::text() const {
  if (node->value.isNumber()) return std::to_string(uint64_t(node->value.getNumber()));
  if (node->value.isBoolean()) return node->value.getBoolean() ? "true" : "false";
  KJ_REQUIRE(node->value.isString(), "not a string", document->text.c_str());
  auto text = node->value.getString();
  return std::string(text.begin(), text.size());
}

uint64_t Json::number() const {
  if (node->value.isString()) return std::stoull(text(), nullptr, 0);
  KJ_REQUIRE(node->value.isNumber() && node->value.getNumber() >= 0, "not a number", document->text.c_str());
  return uint64_t(std::llround(node->value.getNumber()));
}

}  // namespace cairn::e2e
