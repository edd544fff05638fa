// The name of the commands program's start, which every other program of ours may tell.
#ifndef MT4GATEWAY_SESSION_MQH
#define MT4GATEWAY_SESSION_MQH

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Log.mqh>

#define SESSION_VARIABLE "Mt4Gateway.session"

void TellSession(long session)
  {
   if(GlobalVariableSet(SESSION_VARIABLE, (double)session) == 0)
      LogWarning("session_not_told code=" + IntegerToString(GetLastError()));
  }

void ForgetSession()
  {
   if(!GlobalVariableDel(SESSION_VARIABLE))
      LogWarning("session_not_forgotten code=" + IntegerToString(GetLastError()));
   GlobalVariablesFlush();
  }

// Empty while there is no commands program.
string SharedSession()
  {
   if(!GlobalVariableCheck(SESSION_VARIABLE))
      return("");
   return(SessionName((long)GlobalVariableGet(SESSION_VARIABLE)));
  }

#endif
