// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A metaserver at a second address: it passes everything on to the real one, but for the calls that the test
// wants answered otherwise. So each command can be told whatever a metaserver may say, on a real mount.
#pragma once

#include <capnp/schema.h>

#include <cstdint>
#include <memory>
#include <string>

namespace cairn::e2e {

class AnsweringMetaserver {
 public:
  explicit AnsweringMetaserver(const std::string& metaserver);  // HOST:PORT of the real one
  ~AnsweringMetaserver();
  AnsweringMetaserver(const AnsweringMetaserver&) = delete;
  AnsweringMetaserver& operator=(const AnsweringMetaserver&) = delete;

  std::string address() const;

  struct Answer {
    capnp::InterfaceSchema interface;
    std::string method;
    std::string json;  // its results; "breaks": an exception
    std::string object =
        "";  // the result that is an object; what it is called for is to be answered here as well
    unsigned times = UINT32_MAX;
  };
  void answer(const Answer& answer);
  // Calls on connections that are made from now on: a mount that stands already hears what is so.
  void passAll();  // forgets all of them

 private:
  struct Body;
  std::unique_ptr<Body> body;
};

}  // namespace cairn::e2e
