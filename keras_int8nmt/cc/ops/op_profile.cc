#include "op_profile.h"

#include <mutex>
#include <sstream>
#include <vector>

namespace keras_int8nmt {
namespace {

// Functions, not globals: an op may be called before this file's globals are made.
std::mutex& ProfilesLock() {
  static std::mutex lock;
  return lock;
}
std::vector<OpProfile*>& Profiles() {
  static std::vector<OpProfile*> profiles;
  return profiles;
}

}  // namespace

std::atomic<bool> op_profile_on{false};

OpProfile::OpProfile(const char* op) : op(op) {
  const std::lock_guard<std::mutex> hold(ProfilesLock());
  Profiles().push_back(this);
}

void StartOpProfile() {
  const std::lock_guard<std::mutex> hold(ProfilesLock());
  for (OpProfile* profile : Profiles()) {
    profile->calls = 0;
    profile->nanoseconds = 0;
  }
  op_profile_on = true;
}

std::string StopOpProfile() {
  op_profile_on = false;
  const std::lock_guard<std::mutex> hold(ProfilesLock());
  std::ostringstream json;
  json << "{";
  const char* comma = "";
  for (const OpProfile* profile : Profiles()) {
    json << comma << "\"" << profile->op << "\": {\"calls\": " << profile->calls
         << ", \"seconds\": " << static_cast<double>(profile->nanoseconds) * 1e-9 << "}";
    comma = ", ";
  }
  json << "}";
  return json.str();
}

}  // namespace keras_int8nmt
