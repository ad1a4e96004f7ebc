// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Reading what `cairn ... --json` prints. Any surprise (no such member, wrong type) is an exception with the
// text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cairn::e2e {

class Json {
 public:
  static Json parse(const std::string& text);
  Json(const Json&);
  Json& operator=(const Json&);
  ~Json();

  Json at(const std::string& member) const;
  bool has(const std::string& member) const;
  std::vector<Json> items() const;
  std::string text() const;  // a number is given as written, a truth as true or false
  uint64_t number() const;   // also from a string of digits: 64 bits do not fit in a JSON number

 private:
  struct Document;
  struct Node;
  std::shared_ptr<Document> document;
  std::shared_ptr<Node> node;
  Json(std::shared_ptr<Document> document, std::shared_ptr<Node> node);
};

}  // namespace cairn::e2e
