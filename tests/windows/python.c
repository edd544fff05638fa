// python.exe for the Python that .ci/windows-tools puts together.
#include <windows.h>

int wmain(int count, wchar_t **words) {
  HMODULE python = LoadLibraryW(L"python311.dll");
  if (!python) return 9;
  int (*run)(int, wchar_t **) = (int (*)(int, wchar_t **))(void *)GetProcAddress(python, "Py_Main");
  return run ? run(count, words) : 9;
}
