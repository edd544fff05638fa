// Makes one mistake that stops a program in MetaTrader, to see that the host stops too.
#property strict

struct Pair
  {
   int               first;
   int               second;
  };

input string Mistake = "none";

int SecondOf(const Pair &pair) { return(pair.second); }

int OnInit()
  {
   int values[];
   int zero = 0;
   double nothing = 0.0;
   Pair pair;
   ArrayResize(values, 3);
   values[0] = 1;
   pair.first = 1;
   if(Mistake == "range")
      Print(IntegerToString(values[3]));
   if(Mistake == "element")
      Print(IntegerToString(values[1]));
   if(Mistake == "member")
      Print(IntegerToString(SecondOf(pair)));
   if(Mistake == "divide")
      Print(IntegerToString(values[0] / zero));
   if(Mistake == "divide_real")
      Print(DoubleToString(1.0 / nothing, 2));
   Print("passed " + IntegerToString(values[0] + pair.first));
   return(INIT_SUCCEEDED);
  }
