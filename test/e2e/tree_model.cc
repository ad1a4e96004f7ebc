// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "test/e2e/tree_model.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

namespace cairn::e2e {
namespace {

using Kind = TreeCall::Kind;
using State = TreeModel::State;

auto place(auto& inodes, uint64_t number) {
  return std::lower_bound(
      inodes.begin(), inodes.end(), number,
      [](const TreeModel::Inode& inode, uint64_t wanted) { return inode.number < wanted; });
}

TreeModel::Inode* find(State& state, uint64_t number) {
  auto at = place(state.inodes, number);
  return number != 0 && at != state.inodes.end() && at->number == number ? &*at : nullptr;
}

uint64_t linksOf(const State& state, const TreeModel::Inode& inode) {
  auto names = uint64_t(std::count(state.names.begin(), state.names.end(), inode.number));
  return inode.directory ? 2 * names : names;
}

void dropUnasked(State& state) {
  std::erase_if(state.inodes,
                [&](const TreeModel::Inode& inode) { return inode.forgotten && linksOf(state, inode) == 0; });
}

bool make(State& state, uint8_t name, uint64_t number, bool directory) {
  if (state.names[name] != 0 || find(state, number) != nullptr) return false;
  TreeModel::Inode inode;
  inode.number = number;
  inode.directory = directory;
  state.inodes.insert(place(state.inodes, number), inode);
  state.names[name] = number;
  return true;
}

bool sameAtTwoMoments(const State& state, const TreeCall& call) {
  State::Walk walk{call.process, call.name, state.names[call.other]};
  return walk.inode != 0 && std::binary_search(state.walked.begin(), state.walked.end(), walk);
}

void noteWalk(State& state, State::Walk walk) {
  auto place = std::lower_bound(state.walked.begin(), state.walked.end(), walk);
  if (place == state.walked.end() || *place != walk) state.walked.insert(place, walk);
}

void noteWalks(State& state) {
  for (auto& walk : std::vector(state.walked)) {
    noteWalk(state, {walk.process, walk.name, state.names[walk.name]});
  }
}

void endWalks(State& state, uint8_t process) {
  std::erase_if(state.walked, [&](auto& walk) { return walk.process == process; });
}

bool refusedRightly(State& state, const TreeCall& call) {
  // A refusal is right when what it says held at one moment, of one name: between two looks of the kernel
  // another mount may have changed the other.
  bool there = state.names[call.name] != 0;
  auto inode = find(state, state.names[call.name]), other = find(state, state.names[call.other]);
  switch (call.kind) {
    case Kind::CREATE:
    case Kind::MAKE_DIRECTORY:
      return call.error == EEXIST && there;
    case Kind::OPEN:
      return call.error == ENOENT ? !there : call.error == EISDIR && there && inode->directory;
    case Kind::CREATE_OPEN:
      return call.error == EISDIR && there && inode->directory;
    case Kind::UNLINK:
      return call.error == ENOENT ? !there : call.error == EISDIR && there && inode->directory;
    case Kind::REMOVE_DIRECTORY:
      return call.error == ENOENT ? !there : call.error == ENOTDIR && there && !inode->directory;
    case Kind::RENAME:
      if (call.error == ENOENT) return !there;
      if (call.error == EISDIR) return other != nullptr && other->directory;
      return call.error == ENOTDIR && other != nullptr && !other->directory;
    case Kind::RENAME_NEW:
      return call.error == ENOENT ? !there : call.error == EEXIST && other != nullptr;
    case Kind::EXCHANGE:
      return call.error == ENOENT && (!there || other == nullptr);
    case Kind::LINK:
      // Linux refuses an open file that it believes to have no name, by a count of its own that other mounts'
      // links may have passed by (vfs_link).
      return call.error == EEXIST ? there : call.error == ENOENT;
    default:
      return false;
  }
}

}  // namespace

uint64_t digest(uint64_t before, const char* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    before = (before ^ (uint64_t(uint8_t(bytes[i])) + 1)) * 0x9E3779B97F4A7C15u;
    before ^= before >> 29;
  }
  return before;
}

std::string placeAppends(std::vector<TreeCall>& calls, const char* bytes) {
  using Record = decltype(TreeCall::record);
  std::map<std::pair<uint64_t, Record>, TreeCall*> appends;  // by inode and record
  for (auto& call : calls) {
    if (call.kind == Kind::APPEND) appends[{call.inode, call.record}] = &call;
  }
  for (auto& call : calls) {
    if (call.kind != Kind::READ) continue;
    if (call.size % TreeCall::RECORD != 0) return "a read ends within a record: " + describe(call);
    for (uint64_t at = 0; at < call.size; at += TreeCall::RECORD) {
      Record record;
      std::copy_n(bytes + call.position + at, TreeCall::RECORD, record.begin());
      auto append = appends.find({call.inode, record});
      auto where = " at " + std::to_string(at) + " in " + describe(call);
      if (append == appends.end()) return "nobody has written what stands" + where;
      auto& position = append->second->position;
      if (position != TreeCall::UNKNOWN && position != at) return "a record has moved: it stands" + where;
      position = at;
    }
  }
  return "";
}

void markOwnChanges(std::vector<TreeCall>& calls, unsigned mounts) {
  auto hasTwo = [](const TreeCall& call) {
    return call.kind == Kind::RENAME || call.kind == Kind::RENAME_NEW || call.kind == Kind::EXCHANGE;
  };
  auto hasName = [](const TreeCall& call) {
    return call.kind != Kind::STAT && call.kind != Kind::APPEND && call.kind != Kind::READ &&
           call.kind != Kind::EMPTY;
  };
  auto changesNames = [&](const TreeCall& call) {
    return hasName(call) && call.error == 0 && call.kind != Kind::LOOK && call.kind != Kind::OPEN &&
           call.kind != Kind::WALK;
  };
  auto changesLinks = [](const TreeCall& call) {
    return call.kind == Kind::UNLINK || call.kind == Kind::REMOVE_DIRECTORY || call.kind == Kind::RENAME ||
           call.kind == Kind::LINK;
  };
  auto names = [&](const TreeCall& call, uint8_t name) {
    return call.name == name || (hasTwo(call) && call.other == name);
  };
  auto concerns = [&](const TreeCall& change, const TreeCall& call) {
    if (call.kind == Kind::STAT) return changesLinks(change);  // of which inode, only the metaserver knows
    return hasName(call) && (names(change, call.name) || (hasTwo(call) && names(change, call.other)));
  };
  std::vector<std::vector<const TreeCall*>> changes(mounts);  // of each mount, by begin
  uint64_t longest = 0;
  for (auto& call : calls) {
    if (!changesNames(call)) continue;
    changes[call.process % mounts].push_back(&call);
    longest = std::max(longest, call.end - call.begin);
  }
  auto byBegin = [](const TreeCall* call, uint64_t time) { return call->begin < time; };
  for (auto& own : changes) {
    std::sort(own.begin(), own.end(), [](auto* a, auto* b) { return a->begin < b->begin; });
  }
  std::vector<bool> marks(calls.size());
  for (size_t i = 0; i < calls.size(); ++i) {
    auto& call = calls[i];
    auto& own = changes[call.process % mounts];
    auto from = std::lower_bound(own.begin(), own.end(), call.begin - std::min(call.begin, longest), byBegin);
    for (auto change = from; change != own.end() && (*change)->begin <= call.end && !marks[i]; ++change) {
      marks[i] = *change != &call && (*change)->end >= call.begin && concerns(**change, call);
    }
  }
  for (size_t i = 0; i < calls.size(); ++i) calls[i].ownChange = marks[i];
}

TreeModel::TreeModel(const std::vector<TreeCall>& calls) {
  std::map<uint64_t, uint64_t> ends;
  for (auto& call : calls) {
    if (call.inode == 0) continue;
    auto& end = ends[call.inode];
    end = std::max(end, call.end);
  }
  lastEnds.assign(ends.begin(), ends.end());
}

bool TreeModel::carryOut(State& state, const Call& call) const {
  if (call.ownChange && (call.error != 0 || call.kind == Kind::LOOK)) return true;
  if (call.error != 0) return refusedRightly(state, call);
  auto& named = state.names[call.name];
  auto& other = state.names[call.other];
  auto inode = find(state, call.inode);
  bool opens = call.kind == Kind::OPEN || call.kind == Kind::CREATE_OPEN;
  if (call.ownChange && opens && inode != nullptr && !inode->directory) return true;
  switch (call.kind) {
    case Kind::LOOK:
      return named == call.inode && (call.inode == 0 || inode->directory == call.directory);
    case Kind::STAT:
      return inode != nullptr && (call.ownChange || linksOf(state, *inode) == call.links) &&
             (inode->directory || inode->size == call.size);
    case Kind::CREATE:
      return make(state, call.name, call.inode, false);
    case Kind::CREATE_OPEN:
      return (named == call.inode && !inode->directory) || make(state, call.name, call.inode, false);
    case Kind::OPEN:
      return named == call.inode && !inode->directory;
    case Kind::MAKE_DIRECTORY:
      return make(state, call.name, call.inode, true);
    case Kind::UNLINK:
    case Kind::REMOVE_DIRECTORY: {
      auto gone = find(state, named);
      if (gone == nullptr || gone->directory != (call.kind == Kind::REMOVE_DIRECTORY)) return false;
      named = 0;
      dropUnasked(state);
      return true;
    }
    case Kind::WALK:
      noteWalk(state, {call.process, call.name, named});
      return true;
    case Kind::RENAME: {
      auto moved = find(state, named), replaced = find(state, other);
      if (moved == nullptr) return false;
      if (moved == replaced) return true;  // two names of one file: POSIX has both stay
      if (replaced != nullptr && replaced->directory != moved->directory) return false;
      other = named;
      named = 0;
      dropUnasked(state);
      return true;
    }
    case Kind::RENAME_NEW:
      if (named == 0 || other != 0) return false;
      other = named;
      named = 0;
      return true;
    case Kind::EXCHANGE:
      if (named == 0 || other == 0) return false;
      std::swap(named, other);
      return true;
    case Kind::LINK:
      if (named != 0 || inode == nullptr || linksOf(state, *inode) == 0) return false;
      named = call.inode;
      return true;
    case Kind::APPEND:
      if (inode == nullptr) return false;
      if (call.position != TreeCall::UNKNOWN && inode->size != call.position) return false;
      inode->content = digest(inode->content, call.record.data(), call.record.size());
      inode->size += call.record.size();
      return true;
    case Kind::READ:
      return inode != nullptr && inode->size == call.size && inode->content == call.content;
    case Kind::EMPTY:
      if (inode == nullptr) return false;
      inode->size = inode->content = 0;
      return true;
  }
  return false;
}

std::vector<State> TreeModel::apply(const State& state, const Call& call) const {
  std::vector<State> outcomes;
  bool walks = call.error == 0 && (call.kind == Kind::RENAME || call.kind == Kind::EXCHANGE);
  auto next = state;
  if (carryOut(next, call)) outcomes.push_back(std::move(next));
  if (walks && sameAtTwoMoments(state, call)) outcomes.push_back(state);
  for (auto& outcome : outcomes) {
    if (walks) endWalks(outcome, call.process);
    if (outcome.names != state.names) noteWalks(outcome);
  }
  return outcomes;
}

bool TreeModel::onlyLooks(const Call& call) const {
  if (call.error != 0) return true;
  return call.kind == Kind::LOOK || call.kind == Kind::STAT || call.kind == Kind::OPEN ||
         call.kind == Kind::READ || call.kind == Kind::WALK;
}

void TreeModel::ended(State& state, const Call& call) const {
  if (call.inode == 0) return;
  auto last = std::lower_bound(lastEnds.begin(), lastEnds.end(), std::pair(call.inode, uint64_t(0)));
  if (last == lastEnds.end() || last->first != call.inode || last->second != call.end) return;
  if (auto inode = find(state, call.inode)) inode->forgotten = true;
  dropUnasked(state);
}

size_t TreeModel::hash(const State& state) const {
  uint64_t hash = 0;
  auto add = [&](uint64_t value) { hash = (hash ^ value) * 0x9E3779B97F4A7C15u, hash ^= hash >> 31; };
  for (auto number : state.names) add(number);
  for (auto& inode : state.inodes) add(inode.number), add(inode.size), add(inode.content);
  for (auto& [process, name, inode] : state.walked) add(process), add(name), add(inode);
  return hash;
}

std::string describe(const TreeCall& call) {
  static const char* const KINDS[] = {
      "look", "stat",   "create",     "create or open", "open", "mkdir",  "unlink", "rmdir",
      "walk", "rename", "rename new", "exchange",       "link", "append", "read",   "empty"};
  std::string text = std::to_string(call.begin / 1000) + "-" + std::to_string(call.end / 1000) +
                     " us  process " + std::to_string(call.process) + " " + KINDS[size_t(call.kind)];
  auto name = [](uint8_t number) { return std::string(1, char('a' + number)); };
  switch (call.kind) {
    case Kind::STAT:
    case Kind::APPEND:
    case Kind::READ:
    case Kind::EMPTY:
      break;
    case Kind::RENAME:
    case Kind::RENAME_NEW:
    case Kind::EXCHANGE:
      text += " " + name(call.name) + " " + name(call.other);
      break;
    default:
      text += " " + name(call.name);
  }
  if (call.inode != 0) text += " #" + std::to_string(call.inode);
  if (call.error != 0) return text + ": " + std::strerror(call.error);
  if (call.kind == Kind::LOOK) text += call.inode == 0 ? ": none" : call.directory ? ": directory" : ": file";
  if (call.kind == Kind::STAT)
    text += ": links " + std::to_string(call.links) + ", size " + std::to_string(call.size);
  if (call.kind == Kind::APPEND) text += " " + std::string(call.record.data(), call.record.size() - 1);
  if (call.kind == Kind::READ) text += ": size " + std::to_string(call.size);
  return text;
}

std::string describe(const TreeModel::State& state) {
  std::string text;
  for (size_t name = 0; name < state.names.size(); ++name) {
    if (state.names[name] != 0)
      text += std::string(1, char('a' + name)) + "=#" + std::to_string(state.names[name]) + " ";
  }
  for (auto& inode : state.inodes) {
    text += "#" + std::to_string(inode.number) +
            (inode.directory ? "/ " : ":" + std::to_string(inode.size) + " ");
  }
  return text;
}

}  // namespace cairn::e2e
