// One line per fact in the Experts log: `event key=value key=value`.
#ifndef MT4GATEWAY_LOG_MQH
#define MT4GATEWAY_LOG_MQH

void LogInfo(string line) { Print("INFO " + line); }
void LogWarning(string line) { Print("WARNING " + line); }

// Something a person has to see to: also shown in a window.
void LogError(string line)
  {
   Print("ERROR " + line);
   Alert("Mt4Gateway: " + line);
  }

#endif
